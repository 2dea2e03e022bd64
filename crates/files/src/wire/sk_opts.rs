//! Options of all sockets.

/// `sk_opts_entry`
use super::extension::FurtherOption;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SkOptsEntry {
    /// SO_SNDBUF as read (already doubled by the kernel).
    #[prost(uint32, required, tag = "1")]
    pub so_sndbuf: u32,
    /// SO_RCVBUF, same treatment.
    #[prost(uint32, required, tag = "2")]
    pub so_rcvbuf: u32,
    /// SO_SNDTIMEO seconds.
    #[prost(uint64, required, tag = "3")]
    pub so_snd_tmo_sec: u64,
    /// SO_SNDTIMEO microseconds.
    #[prost(uint64, required, tag = "4")]
    pub so_snd_tmo_usec: u64,
    /// SO_RCVTIMEO seconds.
    #[prost(uint64, required, tag = "5")]
    pub so_rcv_tmo_sec: u64,
    /// SO_RCVTIMEO microseconds.
    #[prost(uint64, required, tag = "6")]
    pub so_rcv_tmo_usec: u64,
    /// SO_REUSEADDR.
    #[prost(bool, optional, tag = "7")]
    pub reuseaddr: Option<bool>,
    /// SO_PRIORITY.
    #[prost(uint32, optional, tag = "8")]
    pub so_priority: Option<u32>,
    /// SO_RCVLOWAT.
    #[prost(uint32, optional, tag = "9")]
    pub so_rcvlowat: Option<u32>,
    /// SO_MARK, only if non-zero.
    #[prost(uint32, optional, tag = "10")]
    pub so_mark: Option<u32>,
    /// SO_PASSCRED.
    #[prost(bool, optional, tag = "11")]
    pub so_passcred: Option<bool>,
    /// SO_PASSSEC.
    #[prost(bool, optional, tag = "12")]
    pub so_passsec: Option<bool>,
    /// SO_DONTROUTE.
    #[prost(bool, optional, tag = "13")]
    pub so_dontroute: Option<bool>,
    /// SO_NO_CHECK.
    #[prost(bool, optional, tag = "14")]
    pub so_no_check: Option<bool>,
    /// SO_BINDTODEVICE name.
    #[prost(bytes = "vec", optional, tag = "15")]
    pub so_bound_dev: Option<Vec<u8>>,
    /// SO_ATTACH_FILTER program, each instruction as one fixed64.
    #[prost(fixed64, repeated, packed = "false", tag = "16")]
    pub so_filter: Vec<u64>,
    /// SO_REUSEPORT.
    #[prost(bool, optional, tag = "17")]
    pub so_reuseport: Option<bool>,
    /// SO_BROADCAST.
    #[prost(bool, optional, tag = "18")]
    pub so_broadcast: Option<bool>,
    /// SO_KEEPALIVE.
    #[prost(bool, optional, tag = "19")]
    pub so_keepalive: Option<bool>,
    /// Old place of TCP_KEEPCNT (now in tcp_opts).
    #[prost(uint32, optional, tag = "20")]
    pub tcp_keepcnt: Option<u32>,
    /// Old place of TCP_KEEPIDLE.
    #[prost(uint32, optional, tag = "21")]
    pub tcp_keepidle: Option<u32>,
    /// Old place of TCP_KEEPINTVL.
    #[prost(uint32, optional, tag = "22")]
    pub tcp_keepintvl: Option<u32>,
    /// SO_OOBINLINE.
    #[prost(uint32, optional, tag = "23")]
    pub so_oobinline: Option<u32>,
    /// SO_LINGER seconds, only if lingering is on.
    #[prost(uint32, optional, tag = "24")]
    pub so_linger: Option<u32>,
    /// SO_BUF_LOCK bits.
    #[prost(uint32, optional, tag = "25")]
    pub so_buf_lock: Option<u32>,
    /// Ours: options that the format does not know.
    #[prost(message, repeated, tag = "1000")]
    pub further: Vec<FurtherOption>,
}
