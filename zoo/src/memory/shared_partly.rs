//! Two mappings of parts of one shared anonymous object in one process, one moved by mremap(2).

use crate::prelude::*;

pub const GOAL: &str = "parts of shared memory seen at two places stay the same memory";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::shared(16 * raw::PAGE)?;
    memory.fill(0, memory.len, 8);
    // An old length of 0 makes a second view of shared memory (mremap(2)).
    let part = memory.addr + 4 * raw::PAGE;
    let may_move = libc::MREMAP_MAYMOVE as usize;
    let addr = raw::syscall(libc::SYS_mremap, &[part, 0, 4 * raw::PAGE, may_move])?;
    let second = raw::Mapping { addr, len: 4 * raw::PAGE };
    memory.unmap(0, 2 * raw::PAGE)?;
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("written")?;
        ensure!(second.read(10, 3) == b"new", "the child does not share it");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    memory.check(2 * raw::PAGE, 14 * raw::PAGE, 8)?;
    memory.write(4 * raw::PAGE + 10, b"new");
    ensure!(second.read(10, 3) == b"new", "the two views are no longer the same memory");
    stage.mark("written")?;
    child.join(stage)
}
