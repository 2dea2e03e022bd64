//! Private and shared mappings of a file that has been deleted.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "mappings of a deleted file keep their contents and stay shared";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = super::file(stage, "mapped", 8 * raw::PAGE)?;
    let shared = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_SHARED)?;
    let same = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_SHARED)?;
    let private = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_PRIVATE)?;
    private.fill(raw::PAGE, raw::PAGE, 77);
    let contents = shared.read(0, shared.len);
    drop(file);
    fs::remove_file(stage.path("mapped"))?;
    stage.pause()?;
    ensure!(shared.read(0, shared.len) == contents, "contents changed");
    private.check(raw::PAGE, raw::PAGE, 77)?;
    shared.write(5000, b"new");
    ensure!(same.read(5000, 3) == b"new", "the two mappings are no longer the same file");
    Ok(())
}
