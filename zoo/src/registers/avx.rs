//! Sixteen 256-bit registers.

use crate::prelude::*;

pub const GOAL: &str = "AVX registers keep their values";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    if !std::is_x86_feature_detected!("avx") {
        return stage.pause().map(drop);
    }
    let values = std::array::from_fn(|r| std::array::from_fn(|b| (r * 32 + b) as u8 ^ 0x5a));
    let after = super::in_busy_loop(stage, move || raw::hold_avx(&values))?;
    ensure!(after == values, "{after:x?}");
    Ok(())
}
