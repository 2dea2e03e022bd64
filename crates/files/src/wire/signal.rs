//! Signal dispositions and pending signals.

/// `sa_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SaEntry {
    /// Handler address; 0 SIG_DFL, 1 SIG_IGN.
    #[prost(uint64, required, tag = "1")]
    pub sigaction: u64,
    /// SA_* flags as the kernel reports them (with SA_RESTORER 0x04000000).
    #[prost(uint64, required, tag = "2")]
    pub flags: u64,
    /// Trampoline address.
    #[prost(uint64, required, tag = "3")]
    pub restorer: u64,
    /// Mask of signals blocked in the handler, bit (n−1) = signal n.
    #[prost(uint64, required, tag = "4")]
    pub mask: u64,
    /// True if set through the 32-bit syscall ABI.
    #[prost(bool, optional, tag = "5")]
    pub compat_sigaction: Option<bool>,
    /// MIPS only.
    #[prost(uint64, optional, tag = "6")]
    pub mask_extended: Option<u64>,
}

/// `signal_queue_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SignalQueueEntry {
    /// Pending signals in delivery order.
    #[prost(message, repeated, tag = "1")]
    pub signals: Vec<SiginfoEntry>,
}

/// `siginfo_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SiginfoEntry {
    /// Raw kernel siginfo, 128 bytes (`siginfo_t` as returned by PTRACE_PEEKSIGINFO).
    #[prost(bytes = "vec", required, tag = "1")]
    pub siginfo: Vec<u8>,
}
