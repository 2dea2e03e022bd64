//! A mapping longer than its file: the tail of the last page, and pages beyond.

use crate::prelude::*;

pub const GOAL: &str = "a mapping that reaches beyond the end of its file survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = super::file(stage, "mapped", 2 * raw::PAGE + 100)?;
    let memory = raw::Mapping::file(&file, 6 * raw::PAGE, libc::MAP_PRIVATE)?;
    memory.write(0, b"changed");
    memory.check_zero(2 * raw::PAGE + 100, raw::PAGE - 100)?;
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    ensure!(memory.read(0, 7) == b"changed", "the change is lost");
    ensure!(!memory.readable(4 * raw::PAGE), "memory beyond the file can be read");
    Ok(())
}
