//! Layout and mappings of an address space.

/// `mm_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MmEntry {
    /// Start of text (PR_SET_MM values follow the same names).
    #[prost(uint64, required, tag = "1")]
    pub mm_start_code: u64,
    /// End of text.
    #[prost(uint64, required, tag = "2")]
    pub mm_end_code: u64,
    /// Start of initialised data.
    #[prost(uint64, required, tag = "3")]
    pub mm_start_data: u64,
    /// End of initialised data.
    #[prost(uint64, required, tag = "4")]
    pub mm_end_data: u64,
    /// Initial stack pointer area.
    #[prost(uint64, required, tag = "5")]
    pub mm_start_stack: u64,
    /// Heap start.
    #[prost(uint64, required, tag = "6")]
    pub mm_start_brk: u64,
    /// Current program break.
    #[prost(uint64, required, tag = "7")]
    pub mm_brk: u64,
    /// argv strings start.
    #[prost(uint64, required, tag = "8")]
    pub mm_arg_start: u64,
    /// argv strings end.
    #[prost(uint64, required, tag = "9")]
    pub mm_arg_end: u64,
    /// Environment strings start.
    #[prost(uint64, required, tag = "10")]
    pub mm_env_start: u64,
    /// Environment strings end.
    #[prost(uint64, required, tag = "11")]
    pub mm_env_end: u64,
    /// File id of `/proc/<pid>/exe`.
    #[prost(uint32, required, tag = "12")]
    pub exe_file_id: u32,
    /// Auxiliary vector as consecutive 64-bit words (type, value, …).
    #[prost(uint64, repeated, packed = "false", tag = "13")]
    pub mm_saved_auxv: Vec<u64>,
    /// Mappings, see `vma_entry`.
    #[prost(message, repeated, tag = "14")]
    pub vmas: Vec<VmaEntry>,
    /// PR_SET_DUMPABLE value 0/1 (2 read back from the kernel).
    #[prost(int32, optional, tag = "15")]
    pub dumpable: Option<i32>,
    /// Native AIO contexts.
    #[prost(message, repeated, tag = "16")]
    pub aios: Vec<AioRingEntry>,
    /// PR_SET_THP_DISABLE.
    #[prost(bool, optional, tag = "17")]
    pub thp_disabled: Option<bool>,
    /// Extension: what follows `mm_saved_auxv`, see [`super::extension`].
    #[prost(uint64, repeated, packed = "false", tag = "1000")]
    pub auxv_rest: Vec<u64>,
    /// Extension: allocated protection keys, a bit each, see [`super::extension`].
    #[prost(uint32, optional, tag = "1001")]
    pub protection_keys: Option<u32>,
}

/// `aio_ring_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AioRingEntry {
    /// Context id = address of the ring mapping.
    #[prost(uint64, required, tag = "1")]
    pub id: u64,
    /// Number of requests to ask from io_setup so that the ring gets the same size: (number of ring
    /// slots − 2) / 2.
    #[prost(uint32, required, tag = "2")]
    pub nr_req: u32,
    /// Length of the ring mapping, bytes.
    #[prost(uint32, required, tag = "3")]
    pub ring_len: u32,
}

/// `vma_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VmaEntry {
    /// First address (page aligned).
    #[prost(uint64, required, tag = "1")]
    pub start: u64,
    /// End address (exclusive).
    #[prost(uint64, required, tag = "2")]
    pub end: u64,
    /// Offset in the file or segment, in bytes (0 for anonymous).
    #[prost(uint64, required, tag = "3")]
    pub pgoff: u64,
    /// Depends on `status`: FILE_PRIVATE / FILE_SHARED: file id of the mapped file (REG, or MEMFD
    /// with the MEMFD bit).
    #[prost(uint64, required, tag = "4")]
    pub shmid: u64,
    /// PROT_* bits.
    #[prost(uint32, required, tag = "5")]
    pub prot: u32,
    /// MAP_* flags to use.
    #[prost(uint32, required, tag = "6")]
    pub flags: u32,
    /// VMA status bits.
    #[prost(uint32, required, tag = "7")]
    pub status: u32,
    /// Always −1 (any value is ignored by restore).
    #[prost(sint64, required, tag = "8")]
    pub fd: i64,
    /// Bit mask, bit n = advice number n in effect.
    #[prost(uint64, optional, tag = "9")]
    pub madv: Option<u64>,
    /// Open mode needed for the mapping: 0 read-only, 1 write-only, 2 read-write.
    #[prost(uint32, optional, tag = "10")]
    pub fdflags: Option<u32>,
    /// Name of anonymous memory (our extension).
    #[prost(bytes = "vec", optional, tag = "1001")]
    pub name: Option<Vec<u8>>,
    /// Extension: number of its protection key.
    #[prost(uint32, optional, tag = "1002")]
    pub protection_key: Option<u32>,
    /// Ours: MLOCK_ONFAULT.
    #[prost(bool, optional, tag = "1000")]
    pub locked_on_fault: Option<bool>,
}
