//! Seven numbers on the x87 stack and a changed control word.

use crate::prelude::*;

pub const GOAL: &str = "the x87 stack and control word keep their values";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let values = [0.5, -1.25, 3e300, f64::MIN_POSITIVE, 1.0 / 3.0, f64::INFINITY, 42.0];
    // Single precision, rounding down, all exceptions masked.
    let after = super::in_busy_loop(stage, move || raw::hold_x87(&values, 0x047f))?;
    ensure!(after == (values, 0x047f), "{after:?} instead of {values:?}");
    Ok(())
}
