//! Seccomp filters.

/// `seccomp_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SeccompEntry {
    /// All distinct filters of the dump.
    #[prost(message, repeated, tag = "1")]
    pub seccomp_filters: Vec<SeccompFilter>,
}

/// `seccomp_filter`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SeccompFilter {
    /// Classic BPF program: array of 8-byte `struct sock_filter` (u16 code, u8 jt, u8 jf, u32 k.
    #[prost(bytes = "vec", required, tag = "1")]
    pub filter: Vec<u8>,
    /// Index of the filter installed after this one (the next newer one).
    #[prost(uint32, optional, tag = "2")]
    pub prev: Option<u32>,
    /// SECCOMP_FILTER_FLAG_* bits to install with (TSYNC 1, LOG 2, …).
    #[prost(uint32, optional, tag = "3")]
    pub flags: Option<u32>,
}
