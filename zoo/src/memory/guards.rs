//! Pages that were made to fault (MADV_GUARD_INSTALL, Linux 6.13), as C libraries guard stacks with them.

use crate::prelude::*;

pub const GOAL: &str = "guard pages still fault, and their neighbours keep their contents";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    const MADV_GUARD_INSTALL: usize = 102;
    let page = raw::PAGE;
    let memory = raw::Mapping::private(8 * page)?;
    memory.fill(0, 8 * page, 4);
    let arguments = [memory.addr + 2 * page, 3 * page, MADV_GUARD_INSTALL];
    if raw::syscall(libc::SYS_madvise, &arguments).is_err() {
        // Older kernels do not have them; then there is nothing to keep.
        return stage.pause().map(drop);
    }
    let guarded = |memory: &raw::Mapping| (0..8).map(|at| !memory.readable(at * page)).collect();
    let before: Vec<bool> = guarded(&memory);
    ensure!(before == [false, false, true, true, true, false, false, false], "{before:?}");
    stage.pause()?;
    let after: Vec<bool> = guarded(&memory);
    ensure!(after == before, "{after:?} instead of {before:?}");
    memory.check(0, 2 * page, 4)?;
    memory.check(5 * page, 3 * page, 4)
}
