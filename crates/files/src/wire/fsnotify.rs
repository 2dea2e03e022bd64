//! inotify(7) and fanotify(7).

use super::fown::FownEntry;

/// `inotify_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InotifyFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "4")]
    pub fown: FownEntry,
    /// Watches, in `/proc/<pid>/fdinfo` order, i.e.
    #[prost(message, repeated, tag = "5")]
    pub wd: Vec<InotifyWdEntry>,
}

/// `inotify_wd_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InotifyWdEntry {
    /// 0 when embedded.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Inode watched.
    #[prost(uint64, required, tag = "2")]
    pub i_ino: u64,
    /// IN_* event mask (only the IN_ALL_EVENTS bits are reapplied).
    #[prost(uint32, required, tag = "3")]
    pub mask: u32,
    /// As in fdinfo.
    #[prost(uint32, required, tag = "4")]
    pub ignored_mask: u32,
    /// Device in the kernel’s internal encoding (major `<`< 20 | minor).
    #[prost(uint32, required, tag = "5")]
    pub s_dev: u32,
    /// Watch descriptor number to recreate.
    #[prost(uint32, required, tag = "6")]
    pub wd: u32,
    /// File handle of the inode.
    #[prost(message, required, tag = "7")]
    pub f_handle: FhEntry,
}

/// `fh_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FhEntry {
    /// Length of the handle in bytes.
    #[prost(uint32, required, tag = "1")]
    pub bytes: u32,
    /// Handle type.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// Handle bytes as little-endian 64-bit words.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub handle: Vec<u64>,
    /// Path found by CRIU at dump.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub path: Option<Vec<u8>>,
    /// Mount id for `path`.
    #[prost(uint32, optional, tag = "5")]
    pub mnt_id: Option<u32>,
}

/// `fanotify_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FanotifyFileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Open flags of the descriptor.
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "3")]
    pub fown: FownEntry,
    /// fanotify_init flags.
    #[prost(uint32, required, tag = "4")]
    pub faflags: u32,
    /// Event file flags.
    #[prost(uint32, required, tag = "5")]
    pub evflags: u32,
    /// Marks.
    #[prost(message, repeated, tag = "6")]
    pub mark: Vec<FanotifyMarkEntry>,
}

/// `fanotify_mark_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FanotifyMarkEntry {
    /// 0 when embedded.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// INODE 1 or MOUNT 2.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// FAN_MARK_* flags.
    #[prost(uint32, required, tag = "3")]
    pub mflags: u32,
    /// Event mask.
    #[prost(uint32, required, tag = "4")]
    pub mask: u32,
    /// Ignored mask.
    #[prost(uint32, required, tag = "5")]
    pub ignored_mask: u32,
    /// Device (kernel encoding), for INODE.
    #[prost(uint32, required, tag = "6")]
    pub s_dev: u32,
    /// Required for INODE.
    #[prost(message, optional, tag = "7")]
    pub ie: Option<FanotifyInodeMarkEntry>,
    /// Required for MOUNT.
    #[prost(message, optional, tag = "8")]
    pub me: Option<FanotifyMountMarkEntry>,
}

/// `fanotify_inode_mark_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FanotifyInodeMarkEntry {
    /// Inode.
    #[prost(uint64, required, tag = "1")]
    pub i_ino: u64,
    /// Handle.
    #[prost(message, required, tag = "2")]
    pub f_handle: FhEntry,
}

/// `fanotify_mount_mark_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FanotifyMountMarkEntry {
    /// Mount id.
    #[prost(uint32, required, tag = "1")]
    pub mnt_id: u32,
    /// Path of the mount.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub path: Option<Vec<u8>>,
}

/// `irmap_cache_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IrmapCacheEntry {
    /// Device.
    #[prost(uint32, required, tag = "1")]
    pub dev: u32,
    /// Inode number.
    #[prost(uint64, required, tag = "2")]
    pub inode: u64,
    /// Path that was resolved for it.
    #[prost(bytes = "vec", required, tag = "3")]
    pub path: Vec<u8>,
}
