//! Descriptors and the open files behind them.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    FdNumber, FileId, InetSocket, IntervalTimer, NsPid, PathFile, PipeId, SegmentId, SignalMask,
    TerminalFile, UnixSocket,
};

/// A task's table of descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    pub descriptors: BTreeMap<FdNumber, Descriptor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub file: FileId,
    pub close_on_exec: bool,
}

/// An open file description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// `O_*` status flags as fdinfo shows them, without `O_CLOEXEC`.
    pub flags: u32,
    pub owner: Option<AsyncOwner>,
    pub kind: FileKind,
}

/// Who gets `SIGIO`, fcntl(2) `F_SETOWN_EX` and `F_SETSIG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncOwner {
    pub uid: u32,
    pub euid: u32,
    /// 0 is the default, `SIGIO`.
    pub signal: u32,
    pub kind: AsyncOwnerKind,
    pub id: NsPid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncOwnerKind {
    Thread,
    Process,
    Group,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    Path(PathFile),
    Pipe(PipeEnd),
    Fifo(Fifo),
    Eventfd(Eventfd),
    Epoll(Epoll),
    Timerfd(Timerfd),
    Signalfd(Signalfd),
    Inotify(Inotify),
    Memfd(Memfd),
    Unix(UnixSocket),
    Inet(InetSocket),
    Terminal(TerminalFile),
    /// A namespace file of the tree's own; `kind` is the `CLONE_NEW*` flag.
    Namespace {
        kind: u32,
        namespace: u32,
    },
    /// pidfd_open(2); `target` is `None` if the process is gone.
    Pidfd {
        inode: u32,
        target: Option<NsPid>,
    },
}

/// The content of an unlinked inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhostFile {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    /// Device number of a device node.
    pub rdev: Option<u32>,
    /// Informative: device (kernel encoding) and inode at the freeze.
    pub origin: Option<(u32, u64)>,
    /// Access and modification time in microseconds.
    pub times: Option<(u64, u64)>,
    pub content: GhostContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GhostContent {
    /// A directory, FIFO, device or socket.
    None,
    Symlink(PathBuf),
    /// A regular file of `size` bytes; its data is a stream of the checkpoint, holes left out.
    Regular {
        size: u64,
    },
}

/// One end (or both, if opened for reading and writing) of a pipe; the access mode is in the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeEnd {
    pub pipe: PipeId,
}

/// A named pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    pub pipe: PipeId,
    pub path: PathFile,
    /// Id of the path's own record in foreign checkpoints.
    pub path_id: FileId,
}

/// Bytes in a pipe, oldest first, and its capacity in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipeContent {
    pub data: Vec<u8>,
    pub capacity: Option<u32>,
    /// Lengths of the packets that the data consists of (`O_DIRECT`); empty if it is a plain stream.
    pub packets: Vec<u32>,
}

/// eventfd(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eventfd {
    pub count: u64,
    pub semaphore: bool,
}

/// epoll(7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoll {
    pub watches: Vec<EpollWatch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollWatch {
    /// The number under which it was added.
    pub fd: FdNumber,
    pub events: u32,
    pub data: u64,
    /// Informative: device (kernel encoding), inode and offset of the watched file.
    pub target: Option<(u32, u64, u64)>,
    /// The watched file, where `fd` no longer leads to it; `None` if it does.
    pub file: Option<FileId>,
}

/// timerfd_create(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timerfd {
    pub clock: i32,
    /// Expirations not yet read.
    pub ticks: u64,
    /// `TFD_TIMER_*`
    pub settime_flags: u32,
    pub setting: IntervalTimer,
}

/// signalfd(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signalfd {
    pub mask: SignalMask,
}

/// inotify(7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inotify {
    pub watches: Vec<InotifyWatch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InotifyWatch {
    pub wd: u32,
    pub mask: u32,
    pub ignored_mask: u32,
    pub inode: u64,
    /// Kernel encoding (major << 20 | minor).
    pub device: u32,
    pub handle_type: u32,
    pub handle: Vec<u8>,
    pub path: Option<PathBuf>,
}

/// An open memfd_create(2) file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memfd {
    pub segment: SegmentId,
    pub position: u64,
}

/// Shared memory; its content is a page stream of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub size: u64,
    /// Name without the `memfd:` prefix; `None` for plain shared anonymous memory.
    pub memfd: Option<Vec<u8>>,
    pub uid: u32,
    pub gid: u32,
    pub mode: Option<u32>,
    /// `F_SEAL_*`; `F_SEAL_SEAL` alone if it was made without `MFD_ALLOW_SEALING`.
    pub seals: u32,
    pub huge_page_shift: Option<u8>,
}

/// A lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// POSIX 1, FLOCK 2, OFD 4, LEASE 8.
    pub kind: u32,
    /// `F_RDLCK` 0, `F_WRLCK` 1, `F_UNLCK` 2.
    pub lock_type: u32,
    pub owner: NsPid,
    pub fd: FdNumber,
    pub start: i64,
    /// 0: to the end of the file.
    pub len: i64,
}
