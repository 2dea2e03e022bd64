//! A signal mask with every third signal in it.

use crate::prelude::*;

pub const GOAL: &str = "the signal mask survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let wanted = (1..=64).step_by(3).fold(0, |bits, signal| bits | raw::bit(signal));
    raw::set_mask(wanted)?;
    let before = raw::mask()?;
    stage.pause()?;
    ensure!(raw::mask()? == before, "{:#x} instead of {before:#x}", raw::mask()?);
    Ok(())
}
