//! Plain data of a frozen tree.
//!
//! Everything here is a value: no descriptor, no path look-up, no clock, no serialization. What the
//! kernel room freezes is written down in these types, and what is thawed is read from them; the
//! checkpoint files are one encoding of them (room `files`).
//!
//! Numbers are the kernel's own: addresses and lengths are bytes, times are seconds and nanoseconds,
//! signal masks have bit n-1 for signal n.
#![forbid(unsafe_code)]

mod address_space;
mod file;
mod identity;
mod invalid;
mod loss;
mod mount;
mod path_file;
mod processor;
mod registers;
mod signal;
mod socket;
mod system_v;
mod task;
mod terminal;
mod time;
mod tree;
mod validate;

pub use address_space::{
    AddressSpace, AioRing, Backing, Layout, MapFlags, PAGE_SIZE, PageRun, Protection, Vma,
};
pub use file::{
    AsyncOwner, AsyncOwnerKind, Descriptor, DescriptorTable, Epoll, EpollWatch, Eventfd, Fifo,
    FileKind, FileLock, GhostContent, GhostFile, Inotify, InotifyWatch, Memfd, OpenFile,
    PipeContent, PipeEnd, Segment, Signalfd, Timerfd,
};
pub use identity::{FdNumber, FileId, GhostId, NsPid, PipeId, SegmentId, SocketId, TableId, TtyId};
pub use invalid::Invalid;
pub use loss::{Loss, Obstacle, Standing, Subject};
pub use mount::{Cgroup, CgroupSet, Mount, NamespaceKind, Namespaces, Tmpfs, UtsNames};
pub use path_file::{PathFile, Remap};
pub use processor::{FEATURE_WORDS, FeatureWord, Processor, Register, Vendor};
pub use registers::{FpuState, GeneralRegisters, Registers, XsaveComponents};
pub use signal::{PendingSignal, SIGINFO_SIZE, SignalAction, SignalMask};
pub use socket::{
    Ancillary, FurtherOption, InetSocket, IpOptions, SocketOptions, SocketState, TcpConnection,
    TcpOptions, TcpWindow, UnixName, UnixPacket, UnixSocket,
};
pub use system_v::{IpcObject, Message, MessageQueue, SemaphoreSet, SystemV, SystemVMemory};
pub use task::{
    AltStack, Credentials, FsContext, InterruptedCall, Limit, Live, Process, RobustList, Rseq,
    Scheduling, SeccompFilter, SeccompMode, State, Thread,
};
pub use terminal::{Terminal, TerminalFile, TerminalKind, Termios, WindowSize};
pub use time::{ClockReadings, IntervalTimer, PosixTimer, Time, TimerNotify};
pub use tree::Tree;
