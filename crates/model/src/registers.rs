//! Processor state of a thread (x86-64).

/// Everything that ptrace(2) shows of a thread's processor state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub general: GeneralRegisters,
    pub fpu: FpuState,
}

/// `struct user_regs_struct`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeneralRegisters {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub bp: u64,
    pub bx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub ax: u64,
    pub cx: u64,
    pub dx: u64,
    pub si: u64,
    pub di: u64,
    pub orig_ax: u64,
    pub ip: u64,
    pub cs: u64,
    pub flags: u64,
    pub sp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// The FXSAVE area and, if the processor has them, the extended components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FpuState {
    pub control_word: u16,
    pub status_word: u16,
    pub tag_word: u16,
    pub last_opcode: u16,
    pub last_ip: u64,
    pub last_dp: u64,
    pub mxcsr: u32,
    pub mxcsr_mask: u32,
    /// Eight x87 registers of 16 bytes.
    pub st: Vec<u32>,
    /// Sixteen SSE registers of 16 bytes.
    pub xmm: Vec<u32>,
    pub extended: Option<XsaveComponents>,
}

/// Components of the XSAVE area by name, so that they fit any processor's layout.
///
/// A component is empty if the processor that was frozen does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XsaveComponents {
    /// `XSTATE_BV`: which components hold something else than their initial state.
    pub in_use: u64,
    pub ymm_high: Vec<u32>,
    pub bound_registers: Vec<u64>,
    pub bound_config: Vec<u64>,
    pub opmask: Vec<u64>,
    pub zmm_high: Vec<u64>,
    pub zmm_16_to_31: Vec<u64>,
    pub pkru: Vec<u32>,
    /// User CET control and shadow-stack pointer.
    pub shadow_stack: Option<(u64, u64)>,
}

impl XsaveComponents {
    /// Components that a processor must have to go on: those in use, but for protection keys as the
    /// kernel sets them for every program, whether it knows of them or not.
    pub fn needed(&self) -> u64 {
        const KEYS: u64 = 1 << 9;
        /// The kernel's `init_pkru`: key 0 allows everything, all others nothing.
        const AS_FOR_ALL: u32 = 0x5555_5554;
        let has_own_keys = self.pkru.first().is_some_and(|keys| *keys != AS_FOR_ALL);
        if has_own_keys { self.in_use } else { self.in_use & !KEYS }
    }
}
