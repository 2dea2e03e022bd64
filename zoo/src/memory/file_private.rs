//! A private mapping of a file: unchanged pages come from the file, changed ones are kept.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "a private file mapping keeps its own changes and follows the file elsewhere";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = super::file(stage, "mapped", 16 * raw::PAGE)?;
    let memory = raw::Mapping::file(&file, 16 * raw::PAGE, libc::MAP_PRIVATE)?;
    let contents = fs::read(stage.path("mapped"))?;
    memory.fill(3 * raw::PAGE, raw::PAGE, 5);
    // A changed page that is full of zeros must not become the file's page again.
    memory.write(5 * raw::PAGE, &[0; raw::PAGE]);
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    memory.check(3 * raw::PAGE, raw::PAGE, 5)?;
    memory.check_zero(5 * raw::PAGE, raw::PAGE)?;
    let part = |from: usize, to: usize| from * raw::PAGE..to * raw::PAGE;
    for range in [part(0, 3), part(4, 5), part(6, 16)] {
        let same = memory.read(range.start, range.len()) == contents[range.clone()];
        ensure!(same, "the file's own pages changed in {range:x?}");
    }
    ensure!(fs::read(stage.path("mapped"))? == contents, "the file changed");
    Ok(())
}
