//! A parent and its children share memory until one writes: each sees its own contents, and pages
//! that nobody changed are equal.

use crate::prelude::*;

pub const GOAL: &str = "memory shared copy-on-write is right in parent, child and grandchild";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let page = raw::PAGE;
    let memory = raw::Mapping::private(64 * page)?;
    memory.fill(0, 32 * page, 1);
    let child = raw::fork(stage, |stage| {
        memory.fill(4 * page, 4 * page, 2);
        memory.fill(40 * page, page, 2);
        let grandchild = raw::fork(stage, |stage| {
            memory.fill(6 * page, 4 * page, 3);
            stage.mark("grandchild")?;
            stage.wait_for_go()?;
            memory.check(0, 4 * page, 1)?;
            memory.check(4 * page, 2 * page, 2)?;
            memory.check(6 * page, 4 * page, 3)?;
            memory.check(10 * page, 22 * page, 1)?;
            memory.check_zero(32 * page, 8 * page)?;
            memory.check(40 * page, page, 2)
        })?;
        stage.mark("child")?;
        stage.wait_for_go()?;
        memory.check(0, 4 * page, 1)?;
        memory.check(4 * page, 4 * page, 2)?;
        memory.check(8 * page, 24 * page, 1)?;
        memory.fill(0, 64 * page, 9);
        grandchild.join(stage)
    })?;
    // After the fork the parent drops and replaces what the children still have.
    stage.wait_for("grandchild")?;
    memory.fill(2 * page, page, 7);
    memory.advise(3 * page, page, libc::MADV_DONTNEED)?;
    memory.unmap(20 * page, 4 * page)?;
    stage.pause()?;
    memory.check(0, 2 * page, 1)?;
    memory.check(2 * page, page, 7)?;
    memory.check_zero(3 * page, page)?;
    memory.check(4 * page, 16 * page, 1)?;
    memory.check(24 * page, 8 * page, 1)?;
    memory.check_zero(32 * page, 32 * page)?;
    child.join(stage)
}
