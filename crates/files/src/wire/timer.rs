//! Interval and POSIX timers.

/// `task_timers_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TaskTimersEntry {
    /// ITIMER_REAL.
    #[prost(message, required, tag = "1")]
    pub real: ItimerEntry,
    /// ITIMER_VIRTUAL.
    #[prost(message, required, tag = "2")]
    pub virt: ItimerEntry,
    /// ITIMER_PROF.
    #[prost(message, required, tag = "3")]
    pub prof: ItimerEntry,
    /// timer_create() timers, any order (sorted by id on restore).
    #[prost(message, repeated, tag = "4")]
    pub posix: Vec<PosixTimerEntry>,
}

/// `itimer_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ItimerEntry {
    /// Interval seconds.
    #[prost(uint64, required, tag = "1")]
    pub isec: u64,
    /// Interval microseconds.
    #[prost(uint64, required, tag = "2")]
    pub iusec: u64,
    /// Remaining seconds (0/0 = disarmed).
    #[prost(uint64, required, tag = "3")]
    pub vsec: u64,
    /// Remaining microseconds.
    #[prost(uint64, required, tag = "4")]
    pub vusec: u64,
}

/// `posix_timer_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PosixTimerEntry {
    /// Timer id (small integer the kernel assigned).
    #[prost(uint32, required, tag = "1")]
    pub it_id: u32,
    /// CLOCK_* (negative dynamic clocks are not supported).
    #[prost(uint32, required, tag = "2")]
    pub clock_id: u32,
    /// Signal number for notification.
    #[prost(uint32, required, tag = "3")]
    pub si_signo: u32,
    /// SIGEV_SIGNAL 0, SIGEV_NONE 1, SIGEV_THREAD_ID 4.
    #[prost(uint32, required, tag = "4")]
    pub it_sigev_notify: u32,
    /// `sigev_value` as a 64-bit word.
    #[prost(uint64, required, tag = "5")]
    pub sival_ptr: u64,
    /// Overrun count at dump.
    #[prost(uint32, required, tag = "6")]
    pub overrun: u32,
    /// Interval seconds.
    #[prost(uint64, required, tag = "7")]
    pub isec: u64,
    /// Interval nanoseconds.
    #[prost(uint64, required, tag = "8")]
    pub insec: u64,
    /// Remaining seconds.
    #[prost(uint64, required, tag = "9")]
    pub vsec: u64,
    /// Remaining nanoseconds (both 0 with an interval set: re-armed with the interval).
    #[prost(uint64, required, tag = "10")]
    pub vnsec: u64,
    /// Thread id to be notified.
    #[prost(int32, optional, tag = "11")]
    pub notify_thread_id: Option<i32>,
}
