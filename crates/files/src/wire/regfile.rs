//! Files with a path.

use super::fown::FownEntry;

/// `reg_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RegFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags as in `/proc/<pid>/fdinfo` (octal there) without O_CLOEXEC.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// File offset.
    #[prost(uint64, required, tag = "3")]
    pub pos: u64,
    /// Signal owner.
    #[prost(message, required, tag = "5")]
    pub fown: FownEntry,
    /// Absolute path inside the task's mount namespace, starting with `/`.
    #[prost(bytes = "vec", required, tag = "6")]
    pub name: Vec<u8>,
    /// Mount id (from `mountpoints-N.img`) the file lives on.
    #[prost(sint32, optional, tag = "7")]
    pub mnt_id: Option<i32>,
    /// File size at dump.
    #[prost(uint64, optional, tag = "8")]
    pub size: Option<u64>,
    /// File is handled by a plugin/inherit-fd, `name` is its key.
    #[prost(bool, optional, tag = "9")]
    pub ext: Option<bool>,
    /// `st_mode` of the inode.
    #[prost(uint32, optional, tag = "10")]
    pub mode: Option<u32>,
    /// ELF build-id as 32-bit words (native byte order of the note).
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub build_id: Vec<u32>,
    /// Reserved.
    #[prost(uint32, optional, tag = "12")]
    pub checksum: Option<u32>,
    /// Reserved.
    #[prost(uint32, optional, tag = "13")]
    pub checksum_config: Option<u32>,
    /// Reserved.
    #[prost(uint32, optional, tag = "14")]
    pub checksum_parameter: Option<u32>,
}

/// `ext_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ExtFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Signal owner.
    #[prost(message, required, tag = "5")]
    pub fown: FownEntry,
}
