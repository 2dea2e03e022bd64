//! The frame to which rt_sigreturn(2) returns: a patient's way back if the supervisor dies.
//!
//! Layout of the x86-64 kernel's `struct rt_sigframe` as signal handlers see it: `ucontext`, then the
//! XSAVE area, to which it points. The kernel's own restart of system calls does not happen on this
//! way, so the registers are those of a restarted call already.

use stasis_sys::ptrace::UserRegs;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

const UCONTEXT_LEN: usize = 40 + 256 + 8;
/// Room that the frame needs for an XSAVE area of `xsave_len` bytes.
pub fn len_bytes(xsave_len: usize) -> usize {
    64 + UCONTEXT_LEN.next_multiple_of(64) + xsave_len + 4
}

/// The frame's bytes for `address`, and the stack pointer at which rt_sigreturn(2) finds it.
pub fn build(address: u64, regs: &UserRegs, mask: u64, xsave: &[u8]) -> (Vec<u8>, u64) {
    let start = address.next_multiple_of(64);
    let fpu_at = start + UCONTEXT_LEN.next_multiple_of(64) as u64;
    let mut frame = vec![0u8; (start - address) as usize];
    let mut word = |value: u64| frame.extend_from_slice(&value.to_ne_bytes());
    word(UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
    word(0); // uc_link
    // An alternate stack that the kernel refuses, so that it keeps the thread's own.
    word(0);
    word(0x7f);
    word(0);
    let r = regs;
    for register in [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.di, r.si, r.bp, r.bx, r.dx, r.ax,
        r.cx, r.sp, r.ip, r.flags,
    ] {
        word(register);
    }
    word((r.cs & 0xffff) | (r.ss & 0xffff) << 48);
    for _ in 0..4 {
        word(0); // err, trapno, oldmask, cr2
    }
    word(if xsave.is_empty() { 0 } else { fpu_at });
    for _ in 0..8 {
        word(0);
    }
    word(mask);
    frame.resize((fpu_at - address) as usize, 0);
    frame.extend(extended_state(xsave));
    (frame, start)
}

/// The XSAVE area as a signal frame has it: with its own description in the reserved bytes.
fn extended_state(xsave: &[u8]) -> Vec<u8> {
    const MAGIC1: u32 = 0x4650_5853;
    const MAGIC2: u32 = 0x4650_5845;
    const SOFTWARE_BYTES: usize = 464;
    let mut area = xsave.to_vec();
    if area.len() < 576 {
        return area;
    }
    let features: [u8; 8] = area[SOFTWARE_BYTES..][..8].try_into().expect("eight bytes");
    let len = u32::try_from(area.len()).expect("an XSAVE area is small");
    area[SOFTWARE_BYTES..][..4].copy_from_slice(&MAGIC1.to_ne_bytes());
    area[SOFTWARE_BYTES + 4..][..4].copy_from_slice(&(len + 4).to_ne_bytes());
    area[SOFTWARE_BYTES + 8..][..8].copy_from_slice(&features);
    area[SOFTWARE_BYTES + 16..][..4].copy_from_slice(&len.to_ne_bytes());
    area.extend_from_slice(&MAGIC2.to_ne_bytes());
    area
}

/// The registers with which a thread that was stopped in a system call goes on by itself.
///
/// What the kernel does at the end of a stop without a signal: calls that can be restarted step back
/// onto their instruction. Restart data of the kernel is lost here, so a sleep starts anew.
pub fn restarted(regs: &UserRegs) -> UserRegs {
    const RESTART: [i64; 4] = [-512, -513, -514, -516];
    let mut regs = *regs;
    if regs.orig_ax.cast_signed() >= 0 && RESTART.contains(&regs.ax.cast_signed()) {
        regs.ax = regs.orig_ax;
        regs.ip -= 2;
    }
    regs
}
