//! Sixteen 128-bit registers.

use crate::prelude::*;

pub const GOAL: &str = "SSE registers keep their values";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let values = std::array::from_fn(|r| std::array::from_fn(|b| (r * 16 + b) as u8));
    let after = super::in_busy_loop(stage, move || raw::hold_sse(&values))?;
    ensure!(after == values, "{after:x?}");
    Ok(())
}
