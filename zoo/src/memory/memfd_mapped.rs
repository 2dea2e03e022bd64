//! Shared and private mappings of a memory file whose descriptor is closed; one shared by a child.

use std::fs;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::prelude::*;

pub const GOAL: &str = "mappings of a memory file stay shared or private";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = fs::File::from(memfd_create("zoo", MemfdFlags::CLOEXEC)?);
    file.set_len(8 * raw::PAGE as u64)?;
    let shared = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_SHARED)?;
    shared.fill(0, 4 * raw::PAGE, 1);
    let private = raw::Mapping::file(&file, 8 * raw::PAGE, libc::MAP_PRIVATE)?;
    private.fill(0, raw::PAGE, 2);
    drop(file);
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("written")?;
        ensure!(shared.read(7 * raw::PAGE, 3) == b"new", "the child does not share it");
        Ok(())
    })?;
    stage.wait_for("child")?;
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    shared.check(0, 4 * raw::PAGE, 1)?;
    private.check(0, raw::PAGE, 2)?;
    private.check(raw::PAGE, 3 * raw::PAGE, 1)?;
    shared.write(7 * raw::PAGE, b"new");
    ensure!(private.read(7 * raw::PAGE, 3) == b"new", "the private mapping left its file");
    stage.mark("written")?;
    child.join(stage)
}
