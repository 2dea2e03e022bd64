//! The heap goes on growing where it ended, and shrinks again.

use crate::prelude::*;

pub const GOAL: &str = "the heap keeps its contents and its end, and grows";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let first = raw::grow_heap(16 * raw::PAGE + 100)?;
    first.fill(0, first.len, 6);
    stage.pause()?;
    first.check(0, first.len, 6)?;
    let second = raw::grow_heap(32 * raw::PAGE)?;
    ensure!(second.addr == first.addr + first.len, "the heap ended at {:#x}", second.addr);
    second.check_zero(0, second.len)?;
    second.fill(0, second.len, 7);
    first.check(0, first.len, 6)
}
