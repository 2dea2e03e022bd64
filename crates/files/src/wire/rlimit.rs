//! Resource limits.

/// `task_rlimits_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TaskRlimitsEntry {
    /// Up to 16 entries, index = RLIMIT_* number (CPU 0, FSIZE 1, DATA 2, STACK 3, CORE 4, RSS 5,
    /// NPROC 6, NOFILE 7, MEMLOCK 8, AS 9, LOCKS 10, SIGPENDING 11, MSGQUEUE 12, NICE 13, RTPRIO
    /// 14, RTTIME 15).
    #[prost(message, repeated, tag = "1")]
    pub rlimits: Vec<RlimitEntry>,
}

/// `rlimit_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RlimitEntry {
    /// Soft limit.
    #[prost(uint64, required, tag = "1")]
    pub cur: u64,
    /// Hard limit.
    #[prost(uint64, required, tag = "2")]
    pub max: u64,
}
