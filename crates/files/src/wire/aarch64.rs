//! Registers of aarch64.

/// `thread_info_aarch64`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ThreadInfoAarch64 {
    /// As on x86.
    #[prost(uint64, required, tag = "1")]
    pub clear_tid_addr: u64,
    /// TPIDR_EL0.
    #[prost(uint64, required, tag = "2")]
    pub tls: u64,
    /// General registers.
    #[prost(message, required, tag = "3")]
    pub gpregs: UserAarch64RegsEntry,
    /// FP/SIMD registers.
    #[prost(message, required, tag = "4")]
    pub fpsimd: UserAarch64FpsimdContextEntry,
    /// Pointer-authentication keys.
    #[prost(message, optional, tag = "5")]
    pub pac_keys: Option<PacKeys>,
}

/// `user_aarch64_regs_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserAarch64RegsEntry {
    /// x0…x30: 31 words.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub regs: Vec<u64>,
    /// Stack pointer.
    #[prost(uint64, required, tag = "2")]
    pub sp: u64,
    /// Program counter.
    #[prost(uint64, required, tag = "3")]
    pub pc: u64,
    /// Processor state.
    #[prost(uint64, required, tag = "4")]
    pub pstate: u64,
}

/// `user_aarch64_fpsimd_context_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserAarch64FpsimdContextEntry {
    /// V0–V31 as 64 words: low half, then high half of each register.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub vregs: Vec<u64>,
    /// Status.
    #[prost(uint32, required, tag = "2")]
    pub fpsr: u32,
    /// Control.
    #[prost(uint32, required, tag = "3")]
    pub fpcr: u32,
}

/// `pac_keys`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacKeys {
    /// Address keys (HWCAP_PACA).
    #[prost(message, optional, tag = "6")]
    pub pac_address_keys: Option<PacAddressKeys>,
    /// Generic key (HWCAP_PACG).
    #[prost(message, optional, tag = "7")]
    pub pac_generic_keys: Option<PacGenericKeys>,
}

/// `pac_address_keys`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacAddressKeys {
    /// Instruction key A, low half.
    #[prost(uint64, required, tag = "1")]
    pub apiakey_lo: u64,
    /// Instruction key A, high half.
    #[prost(uint64, required, tag = "2")]
    pub apiakey_hi: u64,
    /// Instruction key B, low half.
    #[prost(uint64, required, tag = "3")]
    pub apibkey_lo: u64,
    /// Instruction key B, high half.
    #[prost(uint64, required, tag = "4")]
    pub apibkey_hi: u64,
    /// Data key A, low half.
    #[prost(uint64, required, tag = "5")]
    pub apdakey_lo: u64,
    /// Data key A, high half.
    #[prost(uint64, required, tag = "6")]
    pub apdakey_hi: u64,
    /// Data key B, low half.
    #[prost(uint64, required, tag = "7")]
    pub apdbkey_lo: u64,
    /// Data key B, high half.
    #[prost(uint64, required, tag = "8")]
    pub apdbkey_hi: u64,
    /// Mask of enabled keys (NT_ARM_PAC_ENABLED_KEYS).
    #[prost(uint64, required, tag = "9")]
    pub pac_enabled_key: u64,
}

/// `pac_generic_keys`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PacGenericKeys {
    /// Generic key, low half.
    #[prost(uint64, required, tag = "1")]
    pub apgakey_lo: u64,
    /// Generic key, high half.
    #[prost(uint64, required, tag = "2")]
    pub apgakey_hi: u64,
}
