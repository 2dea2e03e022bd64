//! Netlink and packet sockets, TUN devices.

use super::{fown::FownEntry, sk_opts::SkOptsEntry};

/// `netlink_sk_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetlinkSkEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Socket inode.
    #[prost(uint32, required, tag = "2")]
    pub ino: u32,
    /// NETLINK_*.
    #[prost(uint32, required, tag = "3")]
    pub protocol: u32,
    /// 1 connected to a port, 7 not.
    #[prost(uint32, required, tag = "4")]
    pub state: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "6")]
    pub flags: u32,
    /// Port id.
    #[prost(uint32, required, tag = "7")]
    pub portid: u32,
    /// Group bits as 32-bit words (≤ 32 groups).
    #[prost(uint32, repeated, packed = "false", tag = "8")]
    pub groups: Vec<u32>,
    /// Destination port of connect().
    #[prost(uint32, required, tag = "9")]
    pub dst_portid: u32,
    /// Destination group.
    #[prost(uint32, required, tag = "10")]
    pub dst_group: u32,
    /// Signal owner.
    #[prost(message, required, tag = "11")]
    pub fown: FownEntry,
    /// Socket options.
    #[prost(message, required, tag = "12")]
    pub opts: SkOptsEntry,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "13")]
    pub ns_id: Option<u32>,
}

/// `packet_sock_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacketSockEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// SOCK_RAW 3 / SOCK_DGRAM 2 / SOCK_PACKET 10.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// Ethernet protocol, network order value.
    #[prost(uint32, required, tag = "3")]
    pub protocol: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "4")]
    pub flags: u32,
    /// Bound interface.
    #[prost(uint32, required, tag = "5")]
    pub ifindex: u32,
    /// Signal owner.
    #[prost(message, required, tag = "6")]
    pub fown: FownEntry,
    /// Socket options.
    #[prost(message, required, tag = "7")]
    pub opts: SkOptsEntry,
    /// TPACKET version.
    #[prost(uint32, required, tag = "8")]
    pub version: u32,
    /// PACKET_RESERVE.
    #[prost(uint32, required, tag = "9")]
    pub reserve: u32,
    /// PACKET_AUXDATA.
    #[prost(bool, required, tag = "10")]
    pub aux_data: bool,
    /// PACKET_ORIGDEV.
    #[prost(bool, required, tag = "11")]
    pub orig_dev: bool,
    /// PACKET_VNET_HDR.
    #[prost(bool, required, tag = "12")]
    pub vnet_hdr: bool,
    /// PACKET_LOSS.
    #[prost(bool, required, tag = "13")]
    pub loss: bool,
    /// PACKET_TIMESTAMP.
    #[prost(uint32, required, tag = "14")]
    pub timestamp: u32,
    /// PACKET_COPY_THRESH.
    #[prost(uint32, required, tag = "15")]
    pub copy_thresh: u32,
    /// Memberships.
    #[prost(message, repeated, tag = "16")]
    pub mclist: Vec<PacketMclist>,
    /// PACKET_FANOUT; 0xffffffff = none.
    #[prost(uint32, optional, tag = "17")]
    pub fanout: Option<u32>,
    /// Receive ring geometry.
    #[prost(message, optional, tag = "18")]
    pub rx_ring: Option<PacketRing>,
    /// Transmit ring geometry.
    #[prost(message, optional, tag = "19")]
    pub tx_ring: Option<PacketRing>,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "20")]
    pub ns_id: Option<u32>,
}

/// `packet_mclist`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacketMclist {
    /// Interface.
    #[prost(uint32, required, tag = "1")]
    pub index: u32,
    /// Membership type.
    #[prost(uint32, required, tag = "2")]
    pub r#type: u32,
    /// Hardware address.
    #[prost(bytes = "vec", required, tag = "3")]
    pub addr: Vec<u8>,
}

/// `packet_ring`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacketRing {
    /// Bytes.
    #[prost(uint32, required, tag = "1")]
    pub block_size: u32,
    /// Count.
    #[prost(uint32, required, tag = "2")]
    pub block_nr: u32,
    /// Bytes.
    #[prost(uint32, required, tag = "3")]
    pub frame_size: u32,
    /// Count.
    #[prost(uint32, required, tag = "4")]
    pub frame_nr: u32,
    /// ms.
    #[prost(uint32, required, tag = "5")]
    pub retire_tmo: u32,
    /// Bytes.
    #[prost(uint32, required, tag = "6")]
    pub sizeof_priv: u32,
    /// Feature bits.
    #[prost(uint32, required, tag = "7")]
    pub features: u32,
}

/// `tunfile_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TunfileEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Interface name.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub netdev: Option<Vec<u8>>,
    /// Queue detached.
    #[prost(bool, optional, tag = "3")]
    pub detached: Option<bool>,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "4")]
    pub ns_id: Option<u32>,
}
