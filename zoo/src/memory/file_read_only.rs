//! A shared, read-only mapping of a file that is open for reading only, with an offset.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "read-only file mappings with an offset survive and stay read-only";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::file(stage, "mapped", 8 * raw::PAGE)?;
    let file = fs::File::open(stage.path("mapped"))?;
    let (fd, offset) = (file.as_raw_fd(), 3 * raw::PAGE);
    let flags = libc::MAP_SHARED;
    let memory = raw::Mapping::new(0, 4 * raw::PAGE, libc::PROT_READ, flags, fd, offset)?;
    let contents = fs::read(stage.path("mapped"))?;
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    let right = memory.read(0, memory.len) == contents[offset..offset + memory.len];
    ensure!(right, "the mapping shows another part of the file");
    ensure!(memory.protect(0, raw::PAGE, raw::READ_WRITE).is_err(), "it could be made writable");
    Ok(())
}
