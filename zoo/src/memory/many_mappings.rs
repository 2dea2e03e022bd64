//! Two thousand mappings that cannot be joined.

use crate::prelude::*;

pub const GOAL: &str = "thousands of mappings survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(4000 * raw::PAGE)?;
    for page in (0..4000).step_by(2) {
        memory.write(page * raw::PAGE + page, &[page as u8]);
        memory.protect(page * raw::PAGE, raw::PAGE, libc::PROT_READ)?;
    }
    let before = super::maps_of(&memory)?;
    stage.pause()?;
    ensure!(super::maps_of(&memory)? == before, "the mappings changed");
    for page in (0..4000).step_by(2) {
        let byte = memory.read(page * raw::PAGE + page, 1)[0];
        ensure!(byte == page as u8, "page {page} holds {byte}");
    }
    Ok(())
}
