//! Descriptors of processes and namespaces.

use super::fown::FownEntry;

/// `pidfd_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PidfdEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Inode of the pidfd.
    #[prost(uint32, required, tag = "2")]
    pub ino: u32,
    /// Open flags (PIDFD_NONBLOCK = O_NONBLOCK).
    #[prost(uint32, required, tag = "3")]
    pub flags: u32,
    /// Pid of the target in the innermost namespace; −1 if the target is gone.
    #[prost(int32, required, tag = "4")]
    pub nspid: i32,
    /// Signal owner.
    #[prost(message, required, tag = "5")]
    pub fown: FownEntry,
}

/// `ns_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NsFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Namespace id (as in the ids files).
    #[prost(uint32, required, tag = "2")]
    pub ns_id: u32,
    /// CLONE_NEW* flag telling the kind.
    #[prost(uint32, required, tag = "3")]
    pub ns_cflag: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "4")]
    pub flags: u32,
}
