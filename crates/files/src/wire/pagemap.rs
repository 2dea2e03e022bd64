//! Which pages are stored.

/// `pagemap_head`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PagemapHead {
    /// Number of the `pages-<id>.img` file that holds the data.
    #[prost(uint32, required, tag = "1")]
    pub pages_id: u32,
}

/// `pagemap_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PagemapEntry {
    /// Start address (task) or byte offset in the segment (shmem).
    #[prost(uint64, required, tag = "1")]
    pub vaddr: u64,
    /// Old page count.
    #[prost(uint32, required, tag = "2")]
    pub compat_nr_pages: u32,
    /// Old form of flag PARENT.
    #[prost(bool, optional, tag = "3")]
    pub in_parent: Option<bool>,
    /// PE_PARENT 1, PE_LAZY 2, PE_PRESENT 4.
    #[prost(uint32, optional, tag = "4")]
    pub flags: Option<u32>,
    /// Number of pages (4096 bytes each on x86).
    #[prost(uint64, optional, tag = "5")]
    pub nr_pages: Option<u64>,
}
