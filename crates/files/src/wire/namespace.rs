//! UTS, time, user and pid namespaces.

/// `utsns_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UtsnsEntry {
    /// Host name.
    #[prost(bytes = "vec", required, tag = "1")]
    pub nodename: Vec<u8>,
    /// NIS domain name.
    #[prost(bytes = "vec", required, tag = "2")]
    pub domainname: Vec<u8>,
}

/// `timens_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TimensEntry {
    /// CLOCK_MONOTONIC at dump.
    #[prost(message, required, tag = "1")]
    pub monotonic: Timespec,
    /// CLOCK_BOOTTIME at dump.
    #[prost(message, required, tag = "2")]
    pub boottime: Timespec,
}

/// `timespec`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Timespec {
    /// Seconds.
    #[prost(uint64, required, tag = "1")]
    pub tv_sec: u64,
    /// Nanoseconds.
    #[prost(uint64, required, tag = "2")]
    pub tv_nsec: u64,
}

/// `userns_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UsernsEntry {
    /// Lines of uid_map.
    #[prost(message, repeated, tag = "1")]
    pub uid_map: Vec<UidGidExtent>,
    /// Lines of gid_map.
    #[prost(message, repeated, tag = "2")]
    pub gid_map: Vec<UidGidExtent>,
}

/// `uid_gid_extent`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UidGidExtent {
    /// First id inside.
    #[prost(uint32, required, tag = "1")]
    pub first: u32,
    /// First id outside.
    #[prost(uint32, required, tag = "2")]
    pub lower_first: u32,
    /// Length.
    #[prost(uint32, required, tag = "3")]
    pub count: u32,
}

/// `pidns_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PidnsEntry {
    /// Key of an external pid namespace (`--external pid\[<ino>\]:<key>`).
    #[prost(bytes = "vec", optional, tag = "1")]
    pub ext_key: Option<Vec<u8>>,
}
