//! Any checkpoint file, decoded and encoded again.

use prost::Message;

use super::{
    apparmor::ApparmorEntry,
    bpfmap::BpfmapDataEntry,
    cgroup::CgroupEntry,
    core::CoreEntry,
    cpuinfo::CpuinfoEntry,
    fdinfo::{FdinfoEntry, FileEntry},
    file_lock::FileLockEntry,
    fpregs,
    framing::{RecordWriter, Records},
    fs::FsEntry,
    fsnotify::IrmapCacheEntry,
    inventory::InventoryEntry,
    ipc::{IpcMsg, IpcMsgEntry, IpcSemEntry, IpcShmEntry, IpcVarEntry},
    magic::{Header, Use, format_of},
    memfd::MemfdInodeEntry,
    mm::MmEntry,
    mnt::{AutofsEntry, BinfmtMiscEntry, MntEntry},
    namespace::{PidnsEntry, TimensEntry, UsernsEntry, UtsnsEntry},
    netdev::{NetDeviceEntry, NetnsEntry},
    pagemap::{PagemapEntry, PagemapHead},
    pipe::PipeDataEntry,
    pstree::{PstreeEntry, TaskKobjIdsEntry},
    remap::{GhostChunkEntry, GhostFileEntry, RemapFilePathEntry},
    seccomp::SeccompEntry,
    sk_inet::TcpStreamEntry,
    sk_unix::SkPacketEntry,
    stats::StatsEntry,
    tty::{TtyDataEntry, TtyInfoEntry},
};
use crate::Result;

/// Decodes the contents of the file called `name` and encodes what was understood again.
///
/// Messages that hold nothing unknown come back byte by byte. `None` if there is no such kind of
/// file among those that are still written.
///
/// # Errors
/// [`crate::Error::Corrupt`] for whatever cannot be decoded.
pub fn recode(name: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(format) = format_of(name).filter(|format| format.r#use == Use::Current) else {
        return Ok(None);
    };
    if format.header == Header::Raw {
        return Ok(Some(bytes.to_vec()));
    }
    let mut recoder = Recoder {
        records: Records::open(name, format, bytes)?,
        written: RecordWriter::new(format),
    };
    if !recoder.file(format.prefix)? {
        return Ok(None);
    }
    Ok(Some(recoder.written.into_bytes()))
}

struct Recoder<'a> {
    records: Records<'a>,
    written: RecordWriter,
}

impl Recoder<'_> {
    /// One arm for each kind of file, by the beginning of its name.
    fn file(&mut self, prefix: &str) -> Result<bool> {
        match prefix {
            "inventory.img" => self.all::<InventoryEntry>(),
            "pstree.img" => self.all::<PstreeEntry>(),
            "core-" => self.cores(),
            "ids-" => self.all::<TaskKobjIdsEntry>(),
            "mm-" => self.all::<MmEntry>(),
            "fs-" => self.all::<FsEntry>(),
            "fdinfo-" => self.all::<FdinfoEntry>(),
            "files.img" => self.all::<FileEntry>(),
            "seccomp.img" => self.all::<SeccompEntry>(),
            "timens-" => self.all::<TimensEntry>(),
            "stats-dump" | "stats-restore" => self.all::<StatsEntry>(),
            "remap-fpath.img" => self.all::<RemapFilePathEntry>(),
            "tty-info.img" => self.all::<TtyInfoEntry>(),
            "tty-data.img" => self.all::<TtyDataEntry>(),
            "memfd.img" => self.all::<MemfdInodeEntry>(),
            "filelocks.img" => self.all::<FileLockEntry>(),
            "cgroup.img" => self.all::<CgroupEntry>(),
            "apparmor.img" => self.all::<ApparmorEntry>(),
            "cpuinfo.img" => self.all::<CpuinfoEntry>(),
            "autofs-" => self.all::<AutofsEntry>(),
            "binfmt-misc.img" => self.all::<BinfmtMiscEntry>(),
            "irmap-cache" => self.all::<IrmapCacheEntry>(),
            "mountpoints-" => self.all::<MntEntry>(),
            "utsns-" => self.all::<UtsnsEntry>(),
            "userns-" => self.all::<UsernsEntry>(),
            "pidns-" => self.all::<PidnsEntry>(),
            "ipcns-var-" => self.all::<IpcVarEntry>(),
            "netns-" => self.all::<NetnsEntry>(),
            "netdev-" => self.all::<NetDeviceEntry>(),
            "pagemap-" | "pagemap-shmem-" => self.pagemap(),
            "pipes-data.img" | "fifo-data.img" => {
                self.with_raw(|entry: &PipeDataEntry| u64::from(entry.bytes))
            }
            "sk-queues.img" => self.with_raw(|entry: &SkPacketEntry| u64::from(entry.length)),
            "tcp-stream-" => self.with_raw(|entry: &TcpStreamEntry| {
                u64::from(entry.inq_len) + u64::from(entry.outq_len)
            }),
            "bpfmap-data.img" => self.with_raw(|entry: &BpfmapDataEntry| {
                u64::from(entry.keys_bytes) + u64::from(entry.values_bytes)
            }),
            "ghost-file-" => self.ghost(),
            "ipcns-shm-" => self.with_raw(shm_payload),
            "ipcns-sem-" => self
                .with_raw(|entry: &IpcSemEntry| (u64::from(entry.nsems) * 2).next_multiple_of(8)),
            "ipcns-msg-" => self.messages(),
            _ => return Ok(false),
        }
        .map(|()| true)
    }

    fn one<M: Message + Default>(&mut self) -> Result<Option<M>> {
        let message = self.records.one::<M>()?;
        if let Some(message) = &message {
            self.written.record(message);
        }
        Ok(message)
    }

    fn raw(&mut self, len: u64) -> Result<()> {
        self.written.raw(self.records.raw(len)?);
        Ok(())
    }

    fn all<M: Message + Default>(&mut self) -> Result<()> {
        while self.one::<M>()?.is_some() {}
        Ok(())
    }

    /// Records that raw bytes follow.
    fn with_raw<M: Message + Default>(&mut self, len: impl Fn(&M) -> u64) -> Result<()> {
        while let Some(message) = self.one::<M>()? {
            self.raw(len(&message))?;
        }
        Ok(())
    }

    fn cores(&mut self) -> Result<()> {
        while let Some(mut core) = self.records.one::<CoreEntry>()? {
            if let Some(info) = &mut core.thread_info {
                let decoded = fpregs::decode(&info.fpregs);
                let decoded = decoded.map_err(|reason| self.records.corrupt(reason))?;
                info.fpregs = fpregs::encode(&decoded);
            }
            self.written.record(&core);
        }
        Ok(())
    }

    fn pagemap(&mut self) -> Result<()> {
        self.one::<PagemapHead>()?;
        self.all::<PagemapEntry>()
    }

    fn ghost(&mut self) -> Result<()> {
        let Some(entry) = self.one::<GhostFileEntry>()? else { return Ok(()) };
        if entry.chunks == Some(true) {
            return self.with_raw(|chunk: &GhostChunkEntry| chunk.len);
        }
        self.written.raw(self.records.rest());
        Ok(())
    }

    fn messages(&mut self) -> Result<()> {
        while let Some(queue) = self.one::<IpcMsgEntry>()? {
            for _ in 0..queue.qnum {
                let Some(message) = self.one::<IpcMsg>()? else { break };
                self.raw(u64::from(message.msize).next_multiple_of(8))?;
            }
        }
        Ok(())
    }
}

/// Old releases put the segment's content right behind the record.
fn shm_payload(entry: &IpcShmEntry) -> u64 {
    if entry.in_pagemaps == Some(true) {
        0
    } else {
        entry.size.checked_next_multiple_of(4).unwrap_or(u64::MAX)
    }
}
