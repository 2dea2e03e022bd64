//! Descriptors that report events.

use super::fown::FownEntry;

/// `eventfd_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventfdFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags (O_NONBLOCK …).
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "3")]
    pub fown: FownEntry,
    /// Current counter.
    #[prost(uint64, required, tag = "4")]
    pub counter: u64,
    /// Extension: EFD_SEMAPHORE, see [`super::extension`].
    #[prost(bool, optional, tag = "1000")]
    pub semaphore: Option<bool>,
}

/// `eventpoll_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventpollFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "3")]
    pub fown: FownEntry,
    /// Watched descriptors.
    #[prost(message, repeated, tag = "4")]
    pub tfd: Vec<EventpollTfdEntry>,
}

/// `eventpoll_tfd_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventpollTfdEntry {
    /// 0 since the targets are embedded (in separate files of old releases: id of the epoll file).
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Descriptor number watched, in the descriptor table that holds the epoll file.
    #[prost(uint32, required, tag = "2")]
    pub tfd: u32,
    /// EPOLL* event mask incl.
    #[prost(uint32, required, tag = "3")]
    pub events: u32,
    /// User data word.
    #[prost(uint64, required, tag = "4")]
    pub data: u64,
    /// Device of the watched file, for matching descriptors moved by dup().
    #[prost(uint32, optional, tag = "5")]
    pub dev: Option<u32>,
    /// Its inode.
    #[prost(uint64, optional, tag = "6")]
    pub inode: Option<u64>,
    /// Its offset.
    #[prost(uint64, optional, tag = "7")]
    pub pos: Option<u64>,
    /// Extension: file id of the watched file, see [`super::extension`].
    #[prost(uint32, optional, tag = "1000")]
    pub file_id: Option<u32>,
}

/// `timerfd_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TimerfdEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "3")]
    pub fown: FownEntry,
    /// CLOCK_*.
    #[prost(uint32, required, tag = "4")]
    pub clockid: u32,
    /// Expirations not yet read.
    #[prost(uint64, required, tag = "5")]
    pub ticks: u64,
    /// TFD_TIMER_ABSTIME 1, TFD_TIMER_CANCEL_ON_SET 2.
    #[prost(uint32, required, tag = "6")]
    pub settime_flags: u32,
    /// Remaining seconds (0/0 disarmed).
    #[prost(uint64, required, tag = "7")]
    pub vsec: u64,
    /// Remaining nanoseconds.
    #[prost(uint64, required, tag = "8")]
    pub vnsec: u64,
    /// Interval seconds.
    #[prost(uint64, required, tag = "9")]
    pub isec: u64,
    /// Interval nanoseconds.
    #[prost(uint64, required, tag = "10")]
    pub insec: u64,
}

/// `signalfd_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SignalfdEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "3")]
    pub fown: FownEntry,
    /// Signal mask, bit (n−1) = signal n.
    #[prost(uint64, required, tag = "4")]
    pub sigmask: u64,
}
