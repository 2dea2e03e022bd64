//! Transparent huge pages, one of them written only in part.

use crate::prelude::*;

pub const GOAL: &str = "memory in transparent huge pages keeps its contents";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let huge = 2 << 20;
    let memory = raw::Mapping::private(5 * huge)?;
    let start = memory.addr.next_multiple_of(huge) - memory.addr;
    memory.advise(start, 4 * huge, libc::MADV_HUGEPAGE)?;
    memory.fill(start, huge, 1);
    memory.fill(start + huge + 12345, 3, 2);
    memory.fill(start + 3 * huge, huge, 3);
    let before = super::flags(memory.addr + start)?;
    stage.pause()?;
    memory.check(start, huge, 1)?;
    memory.check(start + huge + 12345, 3, 2)?;
    memory.check_zero(start + 2 * huge, huge)?;
    memory.check(start + 3 * huge, huge, 3)?;
    let after = super::flags(memory.addr + start)?;
    ensure!(after == before, "{after} instead of {before}");
    Ok(())
}
