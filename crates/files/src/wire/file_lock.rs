//! File locks.

/// `file_lock_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FileLockEntry {
    /// POSIX 1, FLOCK 2, OFD 4, LEASE 8.
    #[prost(uint32, required, tag = "1")]
    pub flag: u32,
    /// F_RDLCK 0, F_WRLCK 1, F_UNLCK 2.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// Owner (virtual pid).
    #[prost(int32, required, tag = "3")]
    pub pid: i32,
    /// Descriptor in that process.
    #[prost(int32, required, tag = "4")]
    pub fd: i32,
    /// First byte.
    #[prost(int64, required, tag = "5")]
    pub start: i64,
    /// Length; 0 = to end of file.
    #[prost(int64, required, tag = "6")]
    pub len: i64,
}
