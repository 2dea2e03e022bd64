//! Private changes that were dropped again with MADV_DONTNEED show the file's contents.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "dropped private pages show the file again, before and after";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = super::file(stage, "mapped", 8 * raw::PAGE)?;
    let memory = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_PRIVATE)?;
    let contents = fs::read(stage.path("mapped"))?;
    memory.fill(0, memory.len, 5);
    memory.advise(0, 2 * raw::PAGE, libc::MADV_DONTNEED)?;
    let anonymous = raw::Mapping::private(4 * raw::PAGE)?;
    anonymous.fill(0, anonymous.len, 6);
    stage.pause()?;
    ensure!(memory.read(0, 2 * raw::PAGE) == contents[..2 * raw::PAGE], "dropped pages differ");
    memory.check(2 * raw::PAGE, 6 * raw::PAGE, 5)?;
    memory.advise(2 * raw::PAGE, 6 * raw::PAGE, libc::MADV_DONTNEED)?;
    ensure!(memory.read(0, memory.len) == contents, "pages dropped afterwards are not the file's");
    // Anonymous memory must give zeros, not what a restore mapped there.
    anonymous.advise(0, anonymous.len, libc::MADV_DONTNEED)?;
    anonymous.check_zero(0, anonymous.len)
}
