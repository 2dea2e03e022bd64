//! BPF maps.

use super::fown::FownEntry;

/// `bpfmap_file_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BpfmapFileEntry {
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
    /// BPF_MAP_TYPE_*.
    #[prost(uint32, required, tag = "5")]
    pub map_type: u32,
    /// Bytes.
    #[prost(uint32, required, tag = "6")]
    pub key_size: u32,
    /// Bytes.
    #[prost(uint32, required, tag = "7")]
    pub value_size: u32,
    /// Id linking to `bpfmap-data.img`.
    #[prost(uint32, required, tag = "8")]
    pub map_id: u32,
    /// Capacity.
    #[prost(uint32, required, tag = "9")]
    pub max_entries: u32,
    /// BPF_F_*.
    #[prost(uint32, required, tag = "10")]
    pub map_flags: u32,
    /// Bytes accounted.
    #[prost(uint64, required, tag = "11")]
    pub memlock: u64,
    /// Frozen by BPF_MAP_FREEZE.
    #[prost(bool, required, tag = "12")]
    pub frozen: bool,
    /// Name.
    #[prost(bytes = "vec", required, tag = "13")]
    pub map_name: Vec<u8>,
    /// Device for offloaded maps.
    #[prost(uint32, required, tag = "14")]
    pub ifindex: u32,
    /// As in REG.
    #[prost(sint32, optional, tag = "15")]
    pub mnt_id: Option<i32>,
    /// Type specific.
    #[prost(uint64, optional, tag = "16")]
    pub map_extra: Option<u64>,
}

/// `bpfmap_data_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BpfmapDataEntry {
    /// Which map.
    #[prost(uint32, required, tag = "1")]
    pub map_id: u32,
    /// Length of the raw key array following the record.
    #[prost(uint32, required, tag = "2")]
    pub keys_bytes: u32,
    /// Length of the raw value array following the keys.
    #[prost(uint32, required, tag = "3")]
    pub values_bytes: u32,
    /// Number of pairs.
    #[prost(uint32, required, tag = "4")]
    pub count: u32,
}
