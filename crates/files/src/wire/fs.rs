//! Working directory, root, umask.

/// `fs_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FsEntry {
    /// REG file id of the current directory.
    #[prost(uint32, required, tag = "1")]
    pub cwd_id: u32,
    /// REG file id of the root directory.
    #[prost(uint32, required, tag = "2")]
    pub root_id: u32,
    /// File mode creation mask.
    #[prost(uint32, optional, tag = "3")]
    pub umask: Option<u32>,
}
