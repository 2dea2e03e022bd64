//! The tree as a whole.

use std::collections::BTreeMap;

use crate::{
    ClockReadings, DescriptorTable, FileId, FileKind, FileLock, GhostFile, GhostId, InetSocket,
    Namespaces, NsPid, OpenFile, PipeContent, PipeId, Process, SeccompFilter, Segment, SegmentId,
    TableId, Terminal, TtyId, UnixPacket,
};

/// A frozen tree of processes with all they share.
///
/// Page contents of processes and segments, ghost data and tmpfs contents are streams beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Parents before their children; the first is the root.
    pub processes: Vec<Process>,
    pub tables: BTreeMap<TableId, DescriptorTable>,
    pub files: BTreeMap<FileId, OpenFile>,
    pub pipes: BTreeMap<PipeId, PipeContent>,
    pub segments: BTreeMap<SegmentId, Segment>,
    pub ghosts: BTreeMap<GhostId, GhostFile>,
    pub terminals: BTreeMap<TtyId, Terminal>,
    /// Messages in receive queues, those of one socket in their order.
    pub packets: Vec<UnixPacket>,
    pub locks: Vec<FileLock>,
    pub seccomp_filters: Vec<SeccompFilter>,
    pub namespaces: Namespaces,
    pub clocks: Option<ClockReadings>,
}

impl Tree {
    pub fn root(&self) -> &Process {
        self.processes.first().expect("a tree has a root (checked by Tree::validate)")
    }

    pub fn process(&self, pid: NsPid) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    /// The sizes of all shared memory in bytes, System V's included.
    pub fn segment_sizes(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        let others = self.segments.iter().map(|(id, segment)| (*id, segment.size));
        let system_v = self.namespaces.system_v.memory.iter();
        others.chain(system_v.map(|(id, memory)| (*id, memory.size)))
    }

    /// All TCP connections, also those that have ended.
    pub fn connections(&self) -> impl Iterator<Item = &InetSocket> {
        self.files.values().filter_map(|file| match &file.kind {
            FileKind::Inet(socket) if socket.is_connection() => Some(socket),
            _ => None,
        })
    }

    pub fn nr_threads(&self) -> usize {
        self.processes.iter().filter_map(Process::live).map(|live| live.threads.len()).sum()
    }
}

impl Process {
    pub fn live(&self) -> Option<&crate::Live> {
        match &self.state {
            crate::State::Live { live, .. } => Some(live),
            crate::State::Zombie { .. } => None,
        }
    }

    pub fn live_mut(&mut self) -> Option<&mut crate::Live> {
        match &mut self.state {
            crate::State::Live { live, .. } => Some(live),
            crate::State::Zombie { .. } => None,
        }
    }
}
