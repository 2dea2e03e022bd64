//! The frame to which rt_sigreturn(2) returns: a patient's way back if the supervisor dies.
//!
//! Layout of the x86-64 kernel's `struct rt_sigframe` as signal handlers see it: `ucontext`, then the
//! XSAVE area, to which it points. The kernel's own restart of system calls does not happen on this
//! way, so the registers are those of a restarted call already.

use stasis_sys::{cpuid::xsave_component, ptrace::UserRegs};

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

const UCONTEXT_LEN: usize = 40 + 256 + 8;
/// Room that the frame needs for an XSAVE area of `xsave_len` bytes.
pub fn len_bytes(xsave_len: usize) -> usize {
    64 + UCONTEXT_LEN.next_multiple_of(64) + xsave_len + 4
}

/// Appends the frame's bytes for `address`; tells the stack pointer at which rt_sigreturn(2) finds it.
pub fn build(
    address: u64,
    (regs, mask, xsave): (&UserRegs, u64, &[u8]),
    bytes: &mut Vec<u8>,
) -> u64 {
    let start = address.next_multiple_of(64);
    let fpu_at = start + UCONTEXT_LEN.next_multiple_of(64) as u64;
    let end_at = |bytes: &mut Vec<u8>, from: usize, at: u64| {
        bytes.resize(from + (at - address) as usize, 0);
    };
    let from = bytes.len();
    end_at(bytes, from, start);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_ne_bytes());
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
    end_at(bytes, from, fpu_at);
    add_extended_state(xsave, bytes);
    start
}

/// Appends the XSAVE area as a signal frame has it: with its own description in the reserved bytes. What it
/// was cut off behind becomes initial again.
fn add_extended_state(xsave: &[u8], bytes: &mut Vec<u8>) {
    const MAGIC1: u32 = 0x4650_5853;
    const MAGIC2: u32 = 0x4650_5845;
    const SOFTWARE_BYTES: usize = 464;
    let from = bytes.len();
    bytes.extend_from_slice(xsave);
    if xsave.len() < 576 {
        return;
    }
    let features: [u8; 8] = xsave[SOFTWARE_BYTES..][..8].try_into().expect("eight bytes");
    let features = features_within(u64::from_ne_bytes(features), xsave.len());
    let len = u32::try_from(xsave.len()).expect("an XSAVE area is small");
    let description = &mut bytes[from + SOFTWARE_BYTES..];
    description[..4].copy_from_slice(&MAGIC1.to_ne_bytes());
    description[4..8].copy_from_slice(&(len + 4).to_ne_bytes());
    description[8..16].copy_from_slice(&features.to_ne_bytes());
    description[16..20].copy_from_slice(&len.to_ne_bytes());
    bytes.extend_from_slice(&MAGIC2.to_ne_bytes());
}

/// Those of the features whose components lie within so many bytes of the area.
fn features_within(features: u64, len: usize) -> u64 {
    const LEGACY: u64 = 3;
    let is_within = |number: &u32| {
        features & 1 << number != 0
            && xsave_component(*number).is_some_and(|(offset, size)| offset + size <= len)
    };
    let within = (2..64).filter(is_within).fold(0, |all, number| all | 1 << number);
    features & LEGACY | within
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
