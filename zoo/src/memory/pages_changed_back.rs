//! Pages given back and used again: MADV_DONTNEED, MADV_FREE, mremap(2) that moves a mapping.

use crate::prelude::*;

pub const GOAL: &str = "pages that were given back or moved are right";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let page = raw::PAGE;
    let memory = raw::Mapping::private(32 * page)?;
    memory.fill(0, memory.len, 1);
    memory.advise(0, 8 * page, libc::MADV_DONTNEED)?;
    memory.fill(2 * page, page, 2);
    memory.advise(8 * page, 8 * page, libc::MADV_FREE)?;
    let from = raw::Mapping::private(8 * page)?;
    from.fill(0, from.len, 3);
    let (old, new) = (from.addr, memory.addr + 16 * page);
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    raw::syscall(libc::SYS_mremap, &[old, 8 * page, 8 * page, flags, new])?;
    let moved = raw::Mapping { addr: new, len: 8 * page };
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    memory.check_zero(0, 2 * page)?;
    memory.check(2 * page, page, 2)?;
    memory.check_zero(3 * page, 5 * page)?;
    moved.check(0, moved.len, 3)?;
    memory.check(24 * page, 8 * page, 1)?;
    // Freed pages hold the old contents or zeros, nothing else.
    for at in (8..16).map(|n| n * page) {
        ensure!(memory.check(at, page, 1).is_ok() || memory.check_zero(at, page).is_ok(), "{at:#x}");
    }
    Ok(())
}
