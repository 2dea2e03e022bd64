//! The upper sixteen 512-bit registers and the seven mask registers.

use crate::prelude::*;

pub const GOAL: &str = "AVX-512 registers and masks keep their values";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    if !(std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw")) {
        return stage.pause().map(drop);
    }
    let values = std::array::from_fn(|r| std::array::from_fn(|b| (r * 64 + b) as u8 ^ 0xa5));
    let masks = std::array::from_fn(|i| 0x8000_0001_1234_0000_u64 + i as u64);
    let after = super::in_busy_loop(stage, move || raw::hold_avx512(&values, &masks))?;
    ensure!(after == (values, masks), "{after:x?}");
    Ok(())
}
