//! Shared memory.

use super::fown::FownEntry;

/// `memfd_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemfdFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Offset.
    #[prost(uint64, required, tag = "3")]
    pub pos: u64,
    /// Signal owner.
    #[prost(message, required, tag = "4")]
    pub fown: FownEntry,
    /// Which `memfd_inode_entry`.
    #[prost(uint32, required, tag = "5")]
    pub inode_id: u32,
}

/// `memfd_inode_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemfdInodeEntry {
    /// Name without the "memfd:" prefix.
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Owner.
    #[prost(uint32, required, tag = "2")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, required, tag = "3")]
    pub gid: u32,
    /// Size in bytes.
    #[prost(uint64, required, tag = "4")]
    pub size: u64,
    /// Segment id: content is in `pagemap-shmem-<shmid>.img` (required if size > 0).
    #[prost(uint32, required, tag = "5")]
    pub shmid: u32,
    /// F_SEAL_* bits; 1 (F_SEAL_SEAL) alone means the memfd was created without MFD_ALLOW_SEALING.
    #[prost(uint32, required, tag = "6")]
    pub seals: u32,
    /// Key used by `memfd_file_entry.inode_id`.
    #[prost(uint64, required, tag = "7")]
    pub inode_id: u64,
    /// MFD_HUGETLB | size `<`< 26, for huge-page memfds.
    #[prost(uint32, optional, tag = "8")]
    pub hugetlb_flag: Option<u32>,
    /// `st_mode`.
    #[prost(uint32, optional, tag = "9")]
    pub mode: Option<u32>,
    /// Extension: a memfd that really bears this name, see [`super::extension`].
    #[prost(bool, optional, tag = "1000")]
    pub named: Option<bool>,
}
