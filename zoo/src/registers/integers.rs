//! All general registers in a busy loop that makes no system call.

use crate::prelude::*;

pub const GOAL: &str = "general registers in a busy loop keep their values";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let values = std::array::from_fn(|i| 0x0123_4567_89ab_cdef_u64.rotate_left(i as u32 * 5));
    let after = super::in_busy_loop(stage, move || raw::hold_integers(&values))?;
    ensure!(after == values, "{after:#x?} instead of {values:#x?}");
    Ok(())
}
