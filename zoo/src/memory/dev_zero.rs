//! A shared mapping of /dev/zero, which is shared anonymous memory with a name.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "a shared mapping of /dev/zero stays shared";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = fs::File::options().read(true).write(true).open("/dev/zero")?;
    let memory = raw::Mapping::file(&file, 4 * raw::PAGE, libc::MAP_SHARED)?;
    memory.fill(0, raw::PAGE, 5);
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("written")?;
        ensure!(memory.read(raw::PAGE, 3) == b"new", "the child does not share it");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    memory.check(0, raw::PAGE, 5)?;
    memory.write(raw::PAGE, b"new");
    stage.mark("written")?;
    child.join(stage)
}
