//! A shared mapping of a file: what is written there afterwards reaches the file.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "a shared file mapping is the file, before and after";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = super::file(stage, "mapped", 8 * raw::PAGE)?;
    let memory = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_SHARED)?;
    memory.write(100, b"before");
    drop(file);
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    memory.write(200, b"after");
    let contents = fs::read(stage.path("mapped"))?;
    ensure!(contents[100..106] == *b"before", "what was written before is lost");
    ensure!(contents[200..205] == *b"after", "what was written after did not reach the file");
    Ok(())
}
