//! Who hears of a descriptor by a signal (fcntl(2), `F_SETOWN`).

/// `fown_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FownEntry {
    /// Owner uid.
    #[prost(uint32, required, tag = "1")]
    pub uid: u32,
    /// Owner euid.
    #[prost(uint32, required, tag = "2")]
    pub euid: u32,
    /// F_SETSIG signal; 0 = default SIGIO, nothing done.
    #[prost(uint32, required, tag = "3")]
    pub signum: u32,
    /// F_SETOWN_EX owner type: F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2.
    #[prost(uint32, required, tag = "4")]
    pub pid_type: u32,
    /// Target thread, process or group id; 0 = no owner, then nothing is set.
    #[prost(uint32, required, tag = "5")]
    pub pid: u32,
}
