//! The SSE control and status register: rounding up, flush to zero, a sticky exception flag.

use crate::prelude::*;

pub const GOAL: &str = "MXCSR keeps its value";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let value = 0x1f80 | 0x4000 | 0x8000 | 0x0020;
    let after = super::in_busy_loop(stage, move || raw::hold_mxcsr(value))?;
    ensure!(after == value, "MXCSR {after:#x} instead of {value:#x}");
    Ok(())
}
