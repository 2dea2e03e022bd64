//! Internet sockets.

use super::{fown::FownEntry, sk_opts::SkOptsEntry};

/// `inet_sk_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InetSkEntry {
    /// File id.
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    /// Socket inode.
    #[prost(uint32, required, tag = "2")]
    pub ino: u32,
    /// AF_INET 2, AF_INET6 10.
    #[prost(uint32, required, tag = "3")]
    pub family: u32,
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3.
    #[prost(uint32, required, tag = "4")]
    pub r#type: u32,
    /// IPPROTO_TCP 6, UDP 17, UDPLITE 136, ICMP 1, ….
    #[prost(uint32, required, tag = "5")]
    pub proto: u32,
    /// TCP state number: ESTABLISHED 1, SYN_SENT 2, SYN_RECV 3, FIN_WAIT1 4, FIN_WAIT2 5, TIME_WAIT
    /// 6, CLOSE 7, CLOSE_WAIT 8, LAST_ACK 9, LISTEN 10, CLOSING 11.
    #[prost(uint32, required, tag = "6")]
    pub state: u32,
    /// Local port in host byte order.
    #[prost(uint32, required, tag = "7")]
    pub src_port: u32,
    /// Remote port, host byte order; 0 = not connected.
    #[prost(uint32, required, tag = "8")]
    pub dst_port: u32,
    /// Open flags.
    #[prost(uint32, required, tag = "9")]
    pub flags: u32,
    /// LISTEN: backlog.
    #[prost(uint32, required, tag = "10")]
    pub backlog: u32,
    /// Local address: one (v4) or four (v6) words holding the bytes in network order as they lie in
    /// memory.
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub src_addr: Vec<u32>,
    /// Remote address, same coding.
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub dst_addr: Vec<u32>,
    /// Signal owner.
    #[prost(message, required, tag = "13")]
    pub fown: FownEntry,
    /// Socket options.
    #[prost(message, required, tag = "14")]
    pub opts: SkOptsEntry,
    /// IPV6_V6ONLY, for AF_INET6.
    #[prost(bool, optional, tag = "15")]
    pub v6only: Option<bool>,
    /// IP-level options.
    #[prost(message, optional, tag = "16")]
    pub ip_opts: Option<IpOptsEntry>,
    /// Interface name for scoped IPv6 link-local addresses.
    #[prost(bytes = "vec", optional, tag = "17")]
    pub ifname: Option<Vec<u8>>,
    /// Network namespace id.
    #[prost(uint32, optional, tag = "18")]
    pub ns_id: Option<u32>,
    /// As for unix sockets.
    #[prost(uint32, optional, tag = "19")]
    pub shutdown: Option<u32>,
    /// TCP-level options.
    #[prost(message, optional, tag = "20")]
    pub tcp_opts: Option<TcpOptsEntry>,
}

/// `ip_opts_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpOptsEntry {
    /// IP_FREEBIND.
    #[prost(bool, optional, tag = "1")]
    pub freebind: Option<bool>,
    /// Raw-socket options.
    #[prost(message, optional, tag = "4")]
    pub raw: Option<IpOptsRawEntry>,
    /// IP_PKTINFO / IPV6_RECVPKTINFO.
    #[prost(bool, optional, tag = "5")]
    pub pktinfo: Option<bool>,
    /// IP_TOS, only if non-zero.
    #[prost(uint32, optional, tag = "6")]
    pub tos: Option<u32>,
    /// IP_TTL.
    #[prost(uint32, optional, tag = "7")]
    pub ttl: Option<u32>,
}

/// `ip_opts_raw_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IpOptsRawEntry {
    /// IP_HDRINCL.
    #[prost(bool, optional, tag = "1")]
    pub hdrincl: Option<bool>,
    /// IP_NODEFRAG.
    #[prost(bool, optional, tag = "2")]
    pub nodefrag: Option<bool>,
    /// IPV6_CHECKSUM.
    #[prost(bool, optional, tag = "3")]
    pub checksum: Option<bool>,
    /// ICMP(v6) filter: 1 or 8 words.
    #[prost(uint32, repeated, packed = "false", tag = "4")]
    pub icmpv_filter: Vec<u32>,
}

/// `tcp_opts_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TcpOptsEntry {
    /// TCP_CORK.
    #[prost(bool, optional, tag = "1")]
    pub cork: Option<bool>,
    /// TCP_NODELAY.
    #[prost(bool, optional, tag = "2")]
    pub nodelay: Option<bool>,
    /// TCP_KEEPCNT.
    #[prost(uint32, optional, tag = "3")]
    pub keepcnt: Option<u32>,
    /// TCP_KEEPIDLE, s.
    #[prost(uint32, optional, tag = "4")]
    pub keepidle: Option<u32>,
    /// TCP_KEEPINTVL, s.
    #[prost(uint32, optional, tag = "5")]
    pub keepintvl: Option<u32>,
}

/// `tcp_stream_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TcpStreamEntry {
    /// Bytes of receive-queue payload following the record.
    #[prost(uint32, required, tag = "1")]
    pub inq_len: u32,
    /// Receive sequence number.
    #[prost(uint32, required, tag = "2")]
    pub inq_seq: u32,
    /// Bytes of send-queue payload after that.
    #[prost(uint32, required, tag = "3")]
    pub outq_len: u32,
    /// Send sequence number.
    #[prost(uint32, required, tag = "4")]
    pub outq_seq: u32,
    /// Negotiated options: TCPI_OPT_TIMESTAMPS 1, SACK 2, WSCALE 4.
    #[prost(uint32, required, tag = "5")]
    pub opt_mask: u32,
    /// Our send window scale.
    #[prost(uint32, required, tag = "6")]
    pub snd_wscale: u32,
    /// Negotiated MSS.
    #[prost(uint32, required, tag = "7")]
    pub mss_clamp: u32,
    /// Required if WSCALE is set.
    #[prost(uint32, optional, tag = "8")]
    pub rcv_wscale: Option<u32>,
    /// TCP timestamp value.
    #[prost(uint32, optional, tag = "9")]
    pub timestamp: Option<u32>,
    /// Old place of TCP_CORK.
    #[prost(bool, optional, tag = "10")]
    pub cork: Option<bool>,
    /// Old place of TCP_NODELAY.
    #[prost(bool, optional, tag = "11")]
    pub nodelay: Option<bool>,
    /// Of the send queue, how many trailing bytes were not yet sent.
    #[prost(uint32, optional, tag = "12")]
    pub unsq_len: Option<u32>,
    /// Window parameters (TCP_REPAIR_WINDOW): all five or none.
    #[prost(uint32, optional, tag = "13")]
    pub snd_wl1: Option<u32>,
    /// Window parameter.
    #[prost(uint32, optional, tag = "14")]
    pub snd_wnd: Option<u32>,
    /// Window parameter.
    #[prost(uint32, optional, tag = "15")]
    pub max_window: Option<u32>,
    /// Window parameter.
    #[prost(uint32, optional, tag = "16")]
    pub rcv_wnd: Option<u32>,
    /// Window parameter.
    #[prost(uint32, optional, tag = "17")]
    pub rcv_wup: Option<u32>,
}
