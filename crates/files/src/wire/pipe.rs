//! Pipes and FIFOs.

use super::fown::FownEntry;

/// `pipe_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PipeEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Identity of the pipe (inode number at dump): both ends, and every reopening, carry the same
    /// value.
    #[prost(uint32, required, tag = "2")]
    pub pipe_id: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "3")]
    pub flags: u32,
    /// Signal owner.
    #[prost(message, required, tag = "4")]
    pub fown: FownEntry,
}

/// `fifo_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FifoEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Identity (inode) used to find data in `fifo-data.img`.
    #[prost(uint32, required, tag = "2")]
    pub pipe_id: u32,
    /// File id of a REG entry with path, flags and pos.
    #[prost(uint32, optional, tag = "3")]
    pub regf_id: Option<u32>,
}

/// `pipe_data_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PipeDataEntry {
    /// Which pipe / fifo.
    #[prost(uint32, required, tag = "1")]
    pub pipe_id: u32,
    /// Number of raw payload bytes right after this record.
    #[prost(uint32, required, tag = "2")]
    pub bytes: u32,
    /// Capacity (F_SETPIPE_SZ) to set.
    #[prost(uint32, optional, tag = "3")]
    pub size: Option<u32>,
    /// Extension: lengths of packets, see [`super::extension`].
    #[prost(uint32, repeated, packed = "false", tag = "1000")]
    pub packets: Vec<u32>,
}
