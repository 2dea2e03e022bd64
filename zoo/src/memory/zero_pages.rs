//! Memory that was only read holds zeros and is not stored; memory set to zero stays zero.

use crate::prelude::*;

pub const GOAL: &str = "pages that were only read or hold zeros are zero";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(4096 * raw::PAGE)?;
    memory.check_zero(0, memory.len)?;
    memory.write(17 * raw::PAGE, &[1]);
    memory.write(17 * raw::PAGE, &[0]);
    stage.pause()?;
    memory.check_zero(0, memory.len)
}
