//! Files without their name.

/// `remap_file_path_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RemapFilePathEntry {
    /// File id of the REG (or other path-bound) entry whose name is gone.
    #[prost(uint32, required, tag = "1")]
    pub orig_id: u32,
    /// GHOST: number of the ghost.
    #[prost(uint32, required, tag = "2")]
    pub remap_id: u32,
    /// LINKED 0, GHOST 1, PROCFS 2.
    #[prost(uint32, optional, tag = "3")]
    pub remap_type: Option<u32>,
}

/// `ghost_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GhostFileEntry {
    /// Owner.
    #[prost(uint32, required, tag = "1")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, required, tag = "2")]
    pub gid: u32,
    /// Full `st_mode` (type and permissions).
    #[prost(uint32, required, tag = "3")]
    pub mode: u32,
    /// Device of the original (kernel encoding).
    #[prost(uint32, optional, tag = "4")]
    pub dev: Option<u32>,
    /// Inode number of the original.
    #[prost(uint64, optional, tag = "5")]
    pub ino: Option<u64>,
    /// Device number for device nodes.
    #[prost(uint32, optional, tag = "6")]
    pub rdev: Option<u32>,
    /// Access time.
    #[prost(message, optional, tag = "7")]
    pub atim: Option<Timeval>,
    /// Modification time.
    #[prost(message, optional, tag = "8")]
    pub mtim: Option<Timeval>,
    /// True: sparse format, payload is a list of chunks.
    #[prost(bool, optional, tag = "9")]
    pub chunks: Option<bool>,
    /// Apparent size, bytes.
    #[prost(uint64, optional, tag = "10")]
    pub size: Option<u64>,
    /// Target for deleted symlinks.
    #[prost(bytes = "vec", optional, tag = "11")]
    pub symlnk_target: Option<Vec<u8>>,
}

/// `timeval`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Timeval {
    /// Seconds.
    #[prost(uint64, required, tag = "1")]
    pub tv_sec: u64,
    /// Microseconds.
    #[prost(uint64, required, tag = "2")]
    pub tv_usec: u64,
}

/// `ghost_chunk_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GhostChunkEntry {
    /// Bytes of data following this record.
    #[prost(uint64, required, tag = "1")]
    pub len: u64,
    /// Offset in the file.
    #[prost(uint64, required, tag = "2")]
    pub off: u64,
}
