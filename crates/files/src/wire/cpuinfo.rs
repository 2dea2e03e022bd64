//! Features of the processor.

/// `cpuinfo_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CpuinfoEntry {
    /// Exactly one on x86.
    #[prost(message, repeated, tag = "1")]
    pub x86_entry: Vec<CpuinfoX86Entry>,
}

/// `cpuinfo_x86_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CpuinfoX86Entry {
    /// INTEL 1, AMD 2.
    #[prost(uint32, required, tag = "1")]
    pub vendor_id: u32,
    /// Family.
    #[prost(uint32, required, tag = "2")]
    pub cpu_family: u32,
    /// Model.
    #[prost(uint32, required, tag = "3")]
    pub model: u32,
    /// Stepping.
    #[prost(uint32, required, tag = "4")]
    pub stepping: u32,
    /// 2 (19 words); 1 = 12 words.
    #[prost(uint32, required, tag = "5")]
    pub capability_ver: u32,
    /// CPUID feature words in the kernel's order.
    #[prost(uint32, repeated, packed = "false", tag = "6")]
    pub capability: Vec<u32>,
    /// Model name.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub model_id: Option<Vec<u8>>,
    /// XCR0 components supported.
    #[prost(uint64, optional, tag = "8")]
    pub xfeatures_mask: Option<u64>,
    /// XSAVE area size, standard format.
    #[prost(uint32, optional, tag = "9")]
    pub xsave_size: Option<u32>,
    /// XSAVE area size, all components.
    #[prost(uint32, optional, tag = "10")]
    pub xsave_size_max: Option<u32>,
    /// See [`super::extension`].
    #[prost(uint32, repeated, packed = "false", tag = "1000")]
    pub more_capability: Vec<u32>,
}
