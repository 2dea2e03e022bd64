//! Registers of x86-64.

/// `thread_info_x86`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ThreadInfoX86 {
    /// Address given to set_tid_address / CLONE_CHILD_CLEARTID.
    #[prost(uint64, required, tag = "1")]
    pub clear_tid_addr: u64,
    /// General registers.
    #[prost(message, required, tag = "2")]
    pub gpregs: UserX86RegsEntry,
    /// FPU/SSE/AVX state: a [`UserX86FpregsEntry`], see [`super::fpregs`].
    #[prost(bytes = "vec", required, tag = "3")]
    pub fpregs: Vec<u8>,
    /// GDT TLS slots 12, 13, 14 (set_thread_area).
    #[prost(message, repeated, tag = "4")]
    pub tls: Vec<UserDesc>,
}

/// `user_x86_regs_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserX86RegsEntry {
    /// Register.
    #[prost(uint64, required, tag = "1")]
    pub r15: u64,
    /// Register.
    #[prost(uint64, required, tag = "2")]
    pub r14: u64,
    /// Register.
    #[prost(uint64, required, tag = "3")]
    pub r13: u64,
    /// Register.
    #[prost(uint64, required, tag = "4")]
    pub r12: u64,
    /// rbp.
    #[prost(uint64, required, tag = "5")]
    pub bp: u64,
    /// rbx.
    #[prost(uint64, required, tag = "6")]
    pub bx: u64,
    /// Register.
    #[prost(uint64, required, tag = "7")]
    pub r11: u64,
    /// Register.
    #[prost(uint64, required, tag = "8")]
    pub r10: u64,
    /// Register.
    #[prost(uint64, required, tag = "9")]
    pub r9: u64,
    /// Register.
    #[prost(uint64, required, tag = "10")]
    pub r8: u64,
    /// rax.
    #[prost(uint64, required, tag = "11")]
    pub ax: u64,
    /// rcx.
    #[prost(uint64, required, tag = "12")]
    pub cx: u64,
    /// rdx.
    #[prost(uint64, required, tag = "13")]
    pub dx: u64,
    /// rsi.
    #[prost(uint64, required, tag = "14")]
    pub si: u64,
    /// rdi.
    #[prost(uint64, required, tag = "15")]
    pub di: u64,
    /// Syscall number at stop, or −1.
    #[prost(uint64, required, tag = "16")]
    pub orig_ax: u64,
    /// rip.
    #[prost(uint64, required, tag = "17")]
    pub ip: u64,
    /// 0x33 for 64-bit, 0x23 for compat.
    #[prost(uint64, required, tag = "18")]
    pub cs: u64,
    /// eflags.
    #[prost(uint64, required, tag = "19")]
    pub flags: u64,
    /// rsp.
    #[prost(uint64, required, tag = "20")]
    pub sp: u64,
    /// Not restored for native tasks (0x2b).
    #[prost(uint64, required, tag = "21")]
    pub ss: u64,
    /// FS base = TLS pointer.
    #[prost(uint64, required, tag = "22")]
    pub fs_base: u64,
    /// GS base.
    #[prost(uint64, required, tag = "23")]
    pub gs_base: u64,
    /// Stored only (native).
    #[prost(uint64, required, tag = "24")]
    pub ds: u64,
    /// Stored only (native).
    #[prost(uint64, required, tag = "25")]
    pub es: u64,
    /// Selector.
    #[prost(uint64, required, tag = "26")]
    pub fs: u64,
    /// Selector.
    #[prost(uint64, required, tag = "27")]
    pub gs: u64,
    /// NATIVE 1 (64-bit, default when absent) or COMPAT 2.
    #[prost(uint32, optional, tag = "28")]
    pub mode: Option<u32>,
}

/// `user_x86_fpregs_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserX86FpregsEntry {
    /// x87 control word (initial value 0x37f).
    #[prost(uint32, required, tag = "1")]
    pub cwd: u32,
    /// x87 status word.
    #[prost(uint32, required, tag = "2")]
    pub swd: u32,
    /// x87 tag word as in FXSAVE (abridged form).
    #[prost(uint32, required, tag = "3")]
    pub twd: u32,
    /// Last opcode.
    #[prost(uint32, required, tag = "4")]
    pub fop: u32,
    /// Last instruction pointer.
    #[prost(uint64, required, tag = "5")]
    pub rip: u64,
    /// Last data pointer.
    #[prost(uint64, required, tag = "6")]
    pub rdp: u64,
    /// Initial value 0x1f80.
    #[prost(uint32, required, tag = "7")]
    pub mxcsr: u32,
    /// As read from the processor.
    #[prost(uint32, required, tag = "8")]
    pub mxcsr_mask: u32,
    /// x87/MMX registers: 32 words (8 × 16 bytes).
    #[prost(uint32, repeated, packed = "false", tag = "9")]
    pub st_space: Vec<u32>,
    /// XMM0–15: 64 words (16 × 16 bytes).
    #[prost(uint32, repeated, packed = "false", tag = "10")]
    pub xmm_space: Vec<u32>,
    /// Unused, always empty.
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub padding: Vec<u32>,
    /// Extended state.
    #[prost(message, optional, tag = "13")]
    pub xsave: Option<UserX86XsaveEntry>,
}

/// `user_x86_xsave_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserX86XsaveEntry {
    /// XSAVE header bitmap: which components hold non-initial state.
    #[prost(uint64, required, tag = "1")]
    pub xstate_bv: u64,
    /// Upper halves of YMM0–15: 64 words (component 2).
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    pub ymmh_space: Vec<u32>,
    /// MPX bounds: 8 words (component 3).
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub bndreg_state: Vec<u64>,
    /// MPX control: 8 words (component 4).
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub bndcsr_state: Vec<u64>,
    /// AVX-512 k0–k7: 8 words (component 5).
    #[prost(uint64, repeated, packed = "false", tag = "5")]
    pub opmask_reg: Vec<u64>,
    /// Upper 256 bits of ZMM0–15: 64 words (component 6).
    #[prost(uint64, repeated, packed = "false", tag = "6")]
    pub zmm_upper: Vec<u64>,
    /// ZMM16–31: 128 words (component 7).
    #[prost(uint64, repeated, packed = "false", tag = "7")]
    pub hi16_zmm: Vec<u64>,
    /// Protection keys: 2 words (component 9).
    #[prost(uint32, repeated, packed = "false", tag = "8")]
    pub pkru: Vec<u32>,
    /// Shadow-stack state (component 11).
    #[prost(message, optional, tag = "9")]
    pub cet: Option<UserX86CetEntry>,
}

/// `user_x86_cet_entry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserX86CetEntry {
    /// User CET control MSR value (0 = off).
    #[prost(uint64, required, tag = "1")]
    pub cet: u64,
    /// Shadow-stack pointer.
    #[prost(uint64, required, tag = "2")]
    pub ssp: u64,
}

/// `user_desc_t`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserDesc {
    /// 12, 13 or 14.
    #[prost(uint32, required, tag = "1")]
    pub entry_number: u32,
    /// Segment base.
    #[prost(uint32, required, tag = "2")]
    pub base_addr: u32,
    /// Segment limit.
    #[prost(uint32, required, tag = "3")]
    pub limit: u32,
    /// Descriptor flag.
    #[prost(bool, required, tag = "4")]
    pub seg_32bit: bool,
    /// High bit of the 2-bit "contents".
    #[prost(bool, required, tag = "5")]
    pub contents_h: bool,
    /// Low bit of the 2-bit "contents".
    #[prost(bool, required, tag = "6")]
    pub contents_l: bool,
    /// Descriptor flag (default true).
    #[prost(bool, required, tag = "7")]
    pub read_exec_only: bool,
    /// Descriptor flag.
    #[prost(bool, required, tag = "8")]
    pub limit_in_pages: bool,
    /// True for an empty slot (default true).
    #[prost(bool, required, tag = "9")]
    pub seg_not_present: bool,
    /// Descriptor flag.
    #[prost(bool, required, tag = "10")]
    pub usable: bool,
}
