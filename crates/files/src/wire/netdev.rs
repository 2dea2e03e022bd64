//! Network namespaces and devices.

/// `netns_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetnsEntry {
    /// Old form of `def_conf4`.
    #[prost(int32, repeated, packed = "false", tag = "1")]
    pub def_conf: Vec<i32>,
    /// Old form of `all_conf4`.
    #[prost(int32, repeated, packed = "false", tag = "2")]
    pub all_conf: Vec<i32>,
    /// net.ipv4.conf.default.*, positional.
    #[prost(message, repeated, tag = "3")]
    pub def_conf4: Vec<SysctlEntry>,
    /// net.ipv4.conf.all.*, positional.
    #[prost(message, repeated, tag = "4")]
    pub all_conf4: Vec<SysctlEntry>,
    /// net.ipv6.conf.default.*, positional.
    #[prost(message, repeated, tag = "5")]
    pub def_conf6: Vec<SysctlEntry>,
    /// net.ipv6.conf.all.*, positional.
    #[prost(message, repeated, tag = "6")]
    pub all_conf6: Vec<SysctlEntry>,
    /// Netns ids assigned inside this namespace.
    #[prost(message, repeated, tag = "7")]
    pub nsids: Vec<NetnsId>,
    /// External network namespace key.
    #[prost(bytes = "vec", optional, tag = "8")]
    pub ext_key: Option<Vec<u8>>,
    /// net.unix.*: max_dgram_qlen.
    #[prost(message, repeated, tag = "9")]
    pub unix_conf: Vec<SysctlEntry>,
    /// net.ipv4.*: ping_group_range.
    #[prost(message, repeated, tag = "10")]
    pub ipv4_sysctl: Vec<SysctlEntry>,
}

/// `netns_id`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetnsId {
    /// Namespace id (as in ids files).
    #[prost(uint32, required, tag = "1")]
    pub target_ns_id: u32,
    /// Netns id value.
    #[prost(int32, required, tag = "2")]
    pub netnsid_value: i32,
}

/// `sysctl_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SysctlEntry {
    /// CTL_STR 5 or CTL_32 6.
    #[prost(uint32, required, tag = "1")]
    pub r#type: u32,
    /// Value for CTL_32.
    #[prost(int32, optional, tag = "2")]
    pub iarg: Option<i32>,
    /// Value for CTL_STR.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub sarg: Option<Vec<u8>>,
}

/// `net_device_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetDeviceEntry {
    /// Device kind.
    #[prost(uint32, required, tag = "1")]
    pub r#type: u32,
    /// Interface index to recreate.
    #[prost(uint32, required, tag = "2")]
    pub ifindex: u32,
    /// MTU.
    #[prost(uint32, required, tag = "3")]
    pub mtu: u32,
    /// IFF_* flags.
    #[prost(uint32, required, tag = "4")]
    pub flags: u32,
    /// Name.
    #[prost(bytes = "vec", required, tag = "5")]
    pub name: Vec<u8>,
    /// For TUN.
    #[prost(message, optional, tag = "6")]
    pub tun: Option<TunLinkEntry>,
    /// Hardware address (not for loopback).
    #[prost(bytes = "vec", optional, tag = "7")]
    pub address: Option<Vec<u8>>,
    /// Old form of `conf4`.
    #[prost(int32, repeated, packed = "false", tag = "8")]
    pub conf: Vec<i32>,
    /// net.ipv4.conf.`<name>`.*, positional.
    #[prost(message, repeated, tag = "9")]
    pub conf4: Vec<SysctlEntry>,
    /// net.ipv6.conf.`<name>`.*, positional.
    #[prost(message, repeated, tag = "10")]
    pub conf6: Vec<SysctlEntry>,
    /// For MACVLAN.
    #[prost(message, optional, tag = "11")]
    pub macvlan: Option<MacvlanLinkEntry>,
    /// Peer's ifindex (veth).
    #[prost(uint32, optional, tag = "12")]
    pub peer_ifindex: Option<u32>,
    /// Namespace id of the peer.
    #[prost(uint32, optional, tag = "13")]
    pub peer_nsid: Option<u32>,
    /// ifindex of the bridge the device is enslaved to.
    #[prost(uint32, optional, tag = "14")]
    pub master: Option<u32>,
    /// For SIT.
    #[prost(message, optional, tag = "15")]
    pub sit: Option<SitEntry>,
}

/// `tun_link_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TunLinkEntry {
    /// IFF_TUN/IFF_TAP/… flags.
    #[prost(uint32, required, tag = "1")]
    pub flags: u32,
    /// Owner uid or −1.
    #[prost(int32, required, tag = "2")]
    pub owner: i32,
    /// Owner gid or −1.
    #[prost(int32, required, tag = "3")]
    pub group: i32,
    /// vnet header size.
    #[prost(uint32, required, tag = "4")]
    pub vnethdr: u32,
    /// Send buffer size.
    #[prost(uint32, required, tag = "5")]
    pub sndbuf: u32,
}

/// `macvlan_link_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MacvlanLinkEntry {
    /// macvlan mode.
    #[prost(uint32, required, tag = "1")]
    pub mode: u32,
    /// macvlan flags.
    #[prost(uint32, optional, tag = "2")]
    pub flags: Option<u32>,
}

/// `sit_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SitEntry {
    /// Underlying interface.
    #[prost(uint32, optional, tag = "1")]
    pub link: Option<u32>,
    /// Local address words.
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    pub local: Vec<u32>,
    /// Remote address words.
    #[prost(uint32, repeated, packed = "false", tag = "3")]
    pub remote: Vec<u32>,
    /// TTL.
    #[prost(uint32, optional, tag = "4")]
    pub ttl: Option<u32>,
    /// TOS.
    #[prost(uint32, optional, tag = "5")]
    pub tos: Option<u32>,
    /// Path-MTU discovery.
    #[prost(bool, optional, tag = "6")]
    pub pmtudisc: Option<bool>,
    /// Protocol.
    #[prost(uint32, optional, tag = "7")]
    pub proto: Option<u32>,
    /// Flags.
    #[prost(uint32, optional, tag = "8")]
    pub flags: Option<u32>,
    /// Encapsulation.
    #[prost(uint32, optional, tag = "9")]
    pub encap_type: Option<u32>,
    /// Encapsulation flags.
    #[prost(uint32, optional, tag = "10")]
    pub encap_flags: Option<u32>,
    /// Source port.
    #[prost(uint32, optional, tag = "11")]
    pub encap_sport: Option<u32>,
    /// Destination port.
    #[prost(uint32, optional, tag = "12")]
    pub encap_dport: Option<u32>,
    /// 6rd prefix length.
    #[prost(uint32, optional, tag = "13")]
    pub rd_prefixlen: Option<u32>,
    /// 6rd prefix.
    #[prost(uint32, repeated, packed = "false", tag = "14")]
    pub rd_prefix: Vec<u32>,
    /// Relay prefix length.
    #[prost(uint32, optional, tag = "15")]
    pub relay_prefixlen: Option<u32>,
    /// Relay prefix.
    #[prost(uint32, repeated, packed = "false", tag = "16")]
    pub relay_prefix: Vec<u32>,
}
