//! The heap goes on growing where it ended, and shrinks again.

use crate::prelude::*;

pub const GOAL: &str = "the heap keeps its contents and its end, and grows";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let first = raw::grow_heap(16 * raw::PAGE + 100)?;
    first.fill(0, first.len, 6);
    stage.pause()?;
    first.check(0, first.len, 6)?;
    // The program's own allocator may have grown the heap too; the heap must be one piece.
    let second = raw::grow_heap(32 * raw::PAGE)?;
    ensure!(second.addr >= first.addr + first.len, "the heap ended at {:#x}", second.addr);
    let (start, end) = super::heap()?;
    ensure!(start <= first.addr, "the heap begins at {start:#x} only");
    ensure!(end >= second.addr + second.len, "the heap ends at {end:#x} already");
    second.check_zero(0, second.len)?;
    second.fill(0, second.len, 7);
    first.check(0, first.len, 6)
}
