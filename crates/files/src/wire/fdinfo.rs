//! Descriptors and the table of open files.

use super::{
    bpfmap::BpfmapFileEntry,
    event::{EventfdFileEntry, EventpollFileEntry, SignalfdEntry, TimerfdEntry},
    fsnotify::{FanotifyFileEntry, InotifyFileEntry},
    memfd::MemfdFileEntry,
    pidfd::{NsFileEntry, PidfdEntry},
    pipe::{FifoEntry, PipeEntry},
    regfile::{ExtFileEntry, RegFileEntry},
    sk_inet::InetSkEntry,
    sk_other::{NetlinkSkEntry, PacketSockEntry, TunfileEntry},
    sk_unix::UnixSkEntry,
    tty::TtyFileEntry,
};

/// `fdinfo_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FdinfoEntry {
    /// File id: key into `files.img`.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Descriptor flags: 1 = FD_CLOEXEC.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Type of the file.
    #[prost(uint32, required, tag = "3")]
    pub r#type: u32,
    /// Descriptor number.
    #[prost(uint32, required, tag = "4")]
    pub fd: u32,
    /// SELinux label of a socket, if any.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub xattr_security_selinux: Option<Vec<u8>>,
}

/// `file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FileEntry {
    /// Kind of file.
    #[prost(uint32, required, tag = "1")]
    pub r#type: u32,
    /// File id.
    #[prost(uint32, required, tag = "2")]
    pub id: u32,
    /// type REG.
    #[prost(message, optional, tag = "3")]
    pub reg: Option<RegFileEntry>,
    /// type INETSK.
    #[prost(message, optional, tag = "4")]
    pub isk: Option<InetSkEntry>,
    /// type NS.
    #[prost(message, optional, tag = "5")]
    pub nsf: Option<NsFileEntry>,
    /// type PACKETSK.
    #[prost(message, optional, tag = "6")]
    pub psk: Option<PacketSockEntry>,
    /// type NETLINKSK.
    #[prost(message, optional, tag = "7")]
    pub nlsk: Option<NetlinkSkEntry>,
    /// type EVENTFD.
    #[prost(message, optional, tag = "8")]
    pub efd: Option<EventfdFileEntry>,
    /// type EVENTPOLL.
    #[prost(message, optional, tag = "9")]
    pub epfd: Option<EventpollFileEntry>,
    /// type SIGNALFD.
    #[prost(message, optional, tag = "10")]
    pub sgfd: Option<SignalfdEntry>,
    /// type TUNF.
    #[prost(message, optional, tag = "11")]
    pub tunf: Option<TunfileEntry>,
    /// type TIMERFD.
    #[prost(message, optional, tag = "12")]
    pub tfd: Option<TimerfdEntry>,
    /// type INOTIFY.
    #[prost(message, optional, tag = "13")]
    pub ify: Option<InotifyFileEntry>,
    /// type FANOTIFY.
    #[prost(message, optional, tag = "14")]
    pub ffy: Option<FanotifyFileEntry>,
    /// type EXT.
    #[prost(message, optional, tag = "15")]
    pub ext: Option<ExtFileEntry>,
    /// type UNIXSK.
    #[prost(message, optional, tag = "16")]
    pub usk: Option<UnixSkEntry>,
    /// type FIFO.
    #[prost(message, optional, tag = "17")]
    pub fifo: Option<FifoEntry>,
    /// type PIPE.
    #[prost(message, optional, tag = "18")]
    pub pipe: Option<PipeEntry>,
    /// type TTY.
    #[prost(message, optional, tag = "19")]
    pub tty: Option<TtyFileEntry>,
    /// type MEMFD.
    #[prost(message, optional, tag = "20")]
    pub memfd: Option<MemfdFileEntry>,
    /// type BPFMAP.
    #[prost(message, optional, tag = "21")]
    pub bpf: Option<BpfmapFileEntry>,
    /// type PIDFD.
    #[prost(message, optional, tag = "22")]
    pub pidfd: Option<PidfdEntry>,
}
