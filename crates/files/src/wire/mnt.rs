//! Mounts.

/// `mnt_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MntEntry {
    /// One of the fstype numbers.
    #[prost(uint32, required, tag = "1")]
    pub fstype: u32,
    /// Mount id at dump.
    #[prost(uint32, required, tag = "2")]
    pub mnt_id: u32,
    /// Superblock device, kernel encoding (major `<`< 20 | minor).
    #[prost(uint32, required, tag = "3")]
    pub root_dev: u32,
    /// Mount id of the parent mount.
    #[prost(uint32, required, tag = "4")]
    pub parent_mnt_id: u32,
    /// Mount flags (MS_NOSUID 2, MS_NODEV 4, MS_NOEXEC 8, MS_NOATIME 0x400, MS_RELATIME 0x200000,
    /// MS_STRICTATIME 0x1000000, ….
    #[prost(uint32, required, tag = "5")]
    pub flags: u32,
    /// Path inside the filesystem that is mounted (`/` = whole).
    #[prost(bytes = "vec", required, tag = "6")]
    pub root: Vec<u8>,
    /// Absolute path inside the namespace, root mount = `/`.
    #[prost(bytes = "vec", required, tag = "7")]
    pub mountpoint: Vec<u8>,
    /// Source string.
    #[prost(bytes = "vec", required, tag = "8")]
    pub source: Vec<u8>,
    /// Filesystem-specific options.
    #[prost(bytes = "vec", required, tag = "9")]
    pub options: Vec<u8>,
    /// Peer-group id, 0 = private.
    #[prost(uint32, optional, tag = "10")]
    pub shared_id: Option<u32>,
    /// Master peer-group id, 0 = not a slave.
    #[prost(uint32, optional, tag = "11")]
    pub master_id: Option<u32>,
    /// A plugin dumps/restores it.
    #[prost(bool, optional, tag = "12")]
    pub with_plugin: Option<bool>,
    /// Old form of external marking.
    #[prost(bool, optional, tag = "13")]
    pub ext_mount: Option<bool>,
    /// Filesystem name.
    #[prost(bytes = "vec", optional, tag = "14")]
    pub fsname: Option<Vec<u8>>,
    /// The mount shares its root path's sharing with other mounts of the dump.
    #[prost(bool, optional, tag = "15")]
    pub internal_sharing: Option<bool>,
    /// The bind source was deleted.
    #[prost(bool, optional, tag = "16")]
    pub deleted: Option<bool>,
    /// Superblock flags (MS_RDONLY 1, …).
    #[prost(uint32, optional, tag = "17")]
    pub sb_flags: Option<u32>,
    /// External mount: the value given at dump (`--external mnt\[path\]:key`).
    #[prost(bytes = "vec", optional, tag = "18")]
    pub ext_key: Option<Vec<u8>>,
}

/// `autofs_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AutofsEntry {
    /// Write end of the kernel pipe in the owner, −1 = catatonic.
    #[prost(int32, required, tag = "1")]
    pub fd: i32,
    /// Owner process group (virtual).
    #[prost(int32, required, tag = "2")]
    pub pgrp: i32,
    /// Seconds.
    #[prost(int32, required, tag = "3")]
    pub timeout: i32,
    /// Protocol.
    #[prost(int32, required, tag = "4")]
    pub minproto: i32,
    /// Protocol.
    #[prost(int32, required, tag = "5")]
    pub maxproto: i32,
    /// 0 direct / 1 indirect / 2 offset.
    #[prost(int32, required, tag = "6")]
    pub mode: i32,
    /// Mount option.
    #[prost(int32, optional, tag = "7")]
    pub uid: Option<i32>,
    /// Mount option.
    #[prost(int32, optional, tag = "8")]
    pub gid: Option<i32>,
    /// Descriptor of the read end in the owner.
    #[prost(int32, optional, tag = "9")]
    pub read_fd: Option<i32>,
}

/// `binfmt_misc_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BinfmtMiscEntry {
    /// Registration name.
    #[prost(bytes = "vec", required, tag = "1")]
    pub name: Vec<u8>,
    /// Enabled.
    #[prost(bool, required, tag = "2")]
    pub enabled: bool,
    /// Path.
    #[prost(bytes = "vec", required, tag = "3")]
    pub interpreter: Vec<u8>,
    /// Flag letters.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub flags: Option<Vec<u8>>,
    /// Extension, or.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub extension: Option<Vec<u8>>,
    /// Magic bytes in `\x` escapes.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub magic: Option<Vec<u8>>,
    /// Mask.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub mask: Option<Vec<u8>>,
    /// Offset of the magic.
    #[prost(int32, optional, tag = "8")]
    pub offset: Option<i32>,
}
