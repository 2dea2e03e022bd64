//! What is gathered while a tree is frozen: the model so far, and who shares what with whom.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::thread::CpuSet;
use stasis_model::{FileId, GhostId, Loss, NsPid, Obstacle, OpenFile, SegmentId, Subject, Tree};
use stasis_proctext::unix_diag::UnixSocket;
use stasis_sys::kcmp;
use stasis_tracee::ProcDir;

use crate::{error::Result, link::Link, system_v, unix_socket};

/// An open descriptor of a patient as it is being frozen.
#[derive(Debug)]
pub struct OpenFd {
    /// As the supervisor sees the task.
    pub pid: i32,
    pub name: String,
    pub fd: i32,
    /// What `/proc/PID/fd/FD` shows.
    pub link: PathBuf,
    /// Text of `/proc/PID/fdinfo/FD`.
    pub info: Vec<u8>,
    pub common: stasis_proctext::fdinfo::Common,
    pub stat: rustix::fs::Stat,
    /// The same open file description in our own table; `None` for `O_PATH`.
    pub file: Option<OwnedFd>,
}

impl OpenFd {
    pub fn subject(&self) -> Subject {
        Subject::Descriptor {
            pid: self.pid,
            name: self.name.clone(),
            fd: self.fd,
            target: self.link.display().to_string(),
        }
    }

    /// Name for messages.
    pub fn what(&self) -> String {
        self.subject().to_string()
    }

    /// Status flags without `O_CLOEXEC`.
    pub fn flags(&self) -> u32 {
        self.common.flags & !0o2_000_000
    }
}

/// Device, inode and name of a mapped file, as `/proc/PID/smaps` has them.
pub(crate) type MappedFile = ((u32, u32), u64, Vec<u8>);

/// Contents that are stored apart from the model, once the tree is known.
#[derive(Debug)]
pub enum Stored {
    Ghost {
        id: GhostId,
        file: OwnedFd,
    },
    Segment {
        id: SegmentId,
        size: u64,
        file: OwnedFd,
    },
    /// The queues of a TCP connection: what was received and not read, and what is to be sent.
    Connection {
        file: FileId,
        received: Vec<u8>,
        outgoing: Vec<u8>,
    },
}

/// The state of a freeze.
#[derive(Debug, Default)]
pub struct Gathering {
    pub tree: Tree,
    pub obstacles: Vec<Obstacle>,
    pub losses: Vec<Loss>,
    /// Keys of open files that belong to the host, as `/proc/PID/fd` shows them.
    pub external_files: Vec<String>,
    pub stored: Vec<Stored>,
    /// Own pids by host pids, threads included.
    pub own_ids: HashMap<i32, NsPid>,
    pub(crate) mapped: HashMap<(u64, u64, PathBuf, u32), FileId>,
    /// Files mapped privately, by device, inode and name as the mappings tell them, then by the mode they
    /// were opened with.
    pub(crate) mapped_privately: HashMap<MappedFile, HashMap<u32, FileId>>,
    pub(crate) segments: HashMap<(u64, u64), SegmentId>,
    last_segment: u64,
    /// Memory of the tree's own IPC namespace.
    pub(crate) system_v: HashMap<system_v::Identity, SegmentId>,
    pub(crate) ghosts: HashMap<(u64, u64), GhostId>,
    opens: HashMap<(u64, u64, u32), Vec<Known>>,
    /// Tables of descriptors that were met, by a process that has each, in the order of kcmp(2).
    pub(crate) tables: Vec<(i32, stasis_model::TableId)>,
    next_file: u32,
    /// Open files that need a second look when all descriptors are known.
    pub(crate) epolls: Vec<crate::epoll::Unresolved>,
    /// All unix sockets of the tree's network namespace, once somebody asked.
    unix_sockets: Option<HashMap<u32, UnixSocket>>,
    /// Connections that are frozen when the network leaves them alone.
    pub connections: Vec<crate::tcp_connection::Met>,
    pub terminals: crate::terminal::Gathered,
    /// Paths by inode, for watches; filled when first needed.
    pub(crate) inodes: HashMap<u64, PathBuf>,
    /// Locks that were met: file, kind, start, and the process if it is the process that holds it.
    pub(crate) locks: HashSet<(FileId, u32, i64, Option<NsPid>)>,
    /// Root of the tree's mount namespace, if that is not ours.
    pub root: Option<OwnedFd>,
    /// Links that were made for deleted files with another name.
    pub links: Vec<Link>,
    pub(crate) linked: HashMap<(u64, u64), FileId>,
    /// The processors that the last thread may use, and what that binds it to.
    pub(crate) processors: Option<(CpuSet, Option<Vec<u64>>)>,
    /// Open files in the user's words.
    pub(crate) subjects: HashMap<FileId, Subject>,
    /// A descriptor of ours for each open file description, for comparison with those in flight.
    pub(crate) ours: HashMap<FileId, OwnedFd>,
}

#[derive(Debug)]
struct Known {
    pid: i32,
    fd: i32,
    id: FileId,
}

impl Gathering {
    pub fn new(external_files: Vec<String>) -> Self {
        Gathering { external_files, ..Gathering::default() }
    }

    pub fn obstacle(&mut self, subject: Subject, reason: impl Into<String>, hint: Option<&str>) {
        self.obstacles.push(Obstacle::lasting(subject, reason, hint));
    }

    pub fn loss(&mut self, subject: Subject, reason: impl Into<String>) {
        let loss = Loss { subject, reason: reason.into() };
        if !self.losses.contains(&loss) {
            self.losses.push(loss);
        }
    }

    /// All unix sockets of the tree's network namespace, which is that of the process `pid`.
    pub(crate) fn unix_sockets(&mut self, pid: i32) -> Result<&HashMap<u32, UnixSocket>> {
        let told = match self.unix_sockets.take() {
            Some(told) => told,
            None => unix_socket::survey(&ProcDir::open(pid)?)?,
        };
        Ok(self.unix_sockets.insert(told))
    }

    /// Root directory of the tree's mount namespace.
    pub(crate) fn open_root(&self) -> Result<OwnedFd> {
        use rustix::fs::{Mode, OFlags};
        let root = match &self.root {
            Some(root) => rustix::io::fcntl_dupfd_cloexec(root, 0),
            None => rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
        };
        root.map_err(crate::Error::at("/", "open"))
    }

    /// Takes over what the tree's own IPC namespace has; comes before all other shared memory, whose
    /// numbers keep out of its way.
    pub fn add_system_v(&mut self, frozen: system_v::Frozen) -> Result<()> {
        self.tree.namespaces.system_v = frozen.objects;
        self.obstacles.extend(frozen.obstacles);
        for system_v::Contents { id, size, file } in frozen.contents {
            let stat = rustix::fs::fstat(&file);
            let stat = stat.map_err(crate::Error::at(format!("System V memory {id}"), "fstat"))?;
            self.system_v.insert(system_v::Identity::of(&stat), id);
            self.stored.push(Stored::Segment { id, size, file });
        }
        Ok(())
    }

    /// A number for shared memory that is not System V's.
    pub(crate) fn new_segment_id(&mut self) -> SegmentId {
        loop {
            // They also fit the 32-bit fields of memfd records.
            self.last_segment += 1;
            let id = SegmentId(self.last_segment);
            if !self.tree.namespaces.system_v.memory.contains_key(&id) {
                return id;
            }
        }
    }

    /// A number for a new open file.
    pub fn new_file_id(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file)
    }

    /// Adds an open file that nothing else can share.
    pub fn add_file(&mut self, file: OpenFile) -> FileId {
        let id = self.new_file_id();
        self.tree.files.insert(id, file);
        id
    }

    /// The id of the open file description behind a descriptor, if it was met before.
    pub fn known_file(&self, open: &OpenFd) -> Result<Option<FileId>> {
        for known in self.opens.get(&key(open)).into_iter().flatten() {
            let indices = (known.fd as u64, open.fd as u64);
            let order = kcmp::compare((known.pid, open.pid), kcmp::Kind::File, indices)
                .map_err(crate::Error::at(open.what(), "kcmp"))?;
            if order.is_eq() {
                return Ok(Some(known.id));
            }
        }
        Ok(None)
    }

    /// Remembers the open file description behind a descriptor.
    pub fn remember_file(&mut self, open: &OpenFd, id: FileId) {
        self.subjects.insert(id, open.subject());
        self.opens.entry(key(open)).or_default().push(Known { pid: open.pid, fd: open.fd, id });
    }

    /// The id that a process or thread has in the tree's own pid namespace.
    pub fn own_id(&self, host: i32) -> Option<NsPid> {
        self.own_ids.get(&host).copied()
    }
}

/// Descriptors with different keys cannot share an open file description.
fn key(open: &OpenFd) -> (u64, u64, u32) {
    (open.stat.st_dev, open.stat.st_ino, open.flags())
}

/// A borrowed file of an open descriptor.
pub fn file_of(open: &OpenFd) -> Result<BorrowedFd<'_>> {
    open.file.as_ref().map(AsFd::as_fd).ok_or_else(|| crate::Error::Unsupported {
        object: open.what(),
        reason: "it is open with O_PATH only".into(),
    })
}
