//! Unix sockets and the messages in their queues.

use super::{fown::FownEntry, sk_opts::SkOptsEntry};

/// `unix_sk_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UnixSkEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Socket inode.
    #[prost(uint32, required, tag = "2")]
    pub ino: u32,
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5.
    #[prost(uint32, required, tag = "3")]
    pub r#type: u32,
    /// 1 established/connected, 7 closed (unconnected), 10 listening.
    #[prost(uint32, required, tag = "4")]
    pub state: u32,
    /// Open flags (2 = O_RDWR, plus O_NONBLOCK).
    #[prost(uint32, required, tag = "5")]
    pub flags: u32,
    /// CRIU flags: EXTERN 1 (peer outside the dump), SERVICE 2, CALLBACK 4, INHERIT 8.
    #[prost(uint32, required, tag = "6")]
    pub uflags: u32,
    /// LISTEN: listen backlog.
    #[prost(uint32, required, tag = "7")]
    pub backlog: u32,
    /// `ino` of the peer; 0 = none.
    #[prost(uint32, required, tag = "8")]
    pub peer: u32,
    /// Signal owner.
    #[prost(message, required, tag = "9")]
    pub fown: FownEntry,
    /// Socket options.
    #[prost(message, required, tag = "10")]
    pub opts: SkOptsEntry,
    /// Raw `sun_path` bytes (no family), exactly as bound: a trailing NUL is included if it was
    /// part of the address.
    #[prost(bytes = "vec", required, tag = "11")]
    pub name: Vec<u8>,
    /// NONE 0, READ 1, WRITE 2, BOTH 3.
    #[prost(uint32, optional, tag = "12")]
    pub shutdown: Option<u32>,
    /// Owner and mode of the socket file, for path-bound sockets.
    #[prost(message, optional, tag = "13")]
    pub file_perms: Option<FilePermsEntry>,
    /// Directory a relative `name` is relative to.
    #[prost(bytes = "vec", optional, tag = "14")]
    pub name_dir: Option<Vec<u8>>,
    /// The path-bound socket file had been unlinked.
    #[prost(bool, optional, tag = "15")]
    pub deleted: Option<bool>,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "16")]
    pub ns_id: Option<u32>,
    /// Mount id of the socket file.
    #[prost(sint32, optional, tag = "17")]
    pub mnt_id: Option<i32>,
}

/// `file_perms_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FilePermsEntry {
    /// `st_mode`.
    #[prost(uint32, required, tag = "1")]
    pub mode: u32,
    /// Owner.
    #[prost(uint32, required, tag = "2")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, required, tag = "3")]
    pub gid: u32,
}

/// `sk_packet_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SkPacketEntry {
    /// File id of the socket whose receive queue holds the packet.
    #[prost(uint32, required, tag = "1")]
    pub id_for: u32,
    /// Number of raw payload bytes that follow.
    #[prost(uint32, required, tag = "2")]
    pub length: u32,
    /// Ancillary data.
    #[prost(message, repeated, tag = "4")]
    pub scm: Vec<ScmEntry>,
    /// Extension: address of the sender, see [`super::extension`].
    #[prost(bytes = "vec", optional, tag = "1000")]
    pub sender: Option<Vec<u8>>,
}

/// `scm_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScmEntry {
    /// 1 = SCM_RIGHTS.
    #[prost(uint32, required, tag = "1")]
    pub r#type: u32,
    /// File ids of the descriptors in flight (entries of `files.img`).
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    pub rights: Vec<u32>,
}
