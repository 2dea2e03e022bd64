//! Carry, parity, zero, sign, direction, and overflow flag in a busy loop.

use crate::prelude::*;

pub const GOAL: &str = "the flags register keeps its value";
pub const KIND: Kind = Kind::Survives;

/// Carry, parity, adjust, zero, sign, interrupt, direction and overflow. (The ID flag cannot be set from
/// outside, neither by ptrace(2) nor by sigreturn(2).)
const FLAGS: u64 = 0x0ed7;

pub fn run(stage: &Stage) -> Verdict {
    let after = super::in_busy_loop(stage, || raw::hold_flags(FLAGS))?;
    ensure!(after == FLAGS, "flags {after:#x} instead of {FLAGS:#x}");
    Ok(())
}
