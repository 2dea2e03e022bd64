//! Private anonymous memory with holes: parts unmapped, parts never touched, parts zeroed.

use crate::prelude::*;

pub const GOAL: &str = "private memory keeps its contents, holes and untouched parts";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(256 * raw::PAGE)?;
    memory.fill(0, 40 * raw::PAGE, 3);
    memory.unmap(10 * raw::PAGE, 5 * raw::PAGE)?;
    memory.fill(100 * raw::PAGE + 5, 3, 4);
    memory.write(200 * raw::PAGE, &[0; raw::PAGE]);
    let before = super::maps()?;
    stage.pause()?;
    memory.check(0, 10 * raw::PAGE, 3)?;
    memory.check(15 * raw::PAGE, 25 * raw::PAGE, 3)?;
    memory.check(100 * raw::PAGE + 5, 3, 4)?;
    memory.check_zero(100 * raw::PAGE + 8, 156 * raw::PAGE - 8)?;
    ensure!(!memory.readable(12 * raw::PAGE), "the hole is mapped");
    super::same_maps(&before)
}
