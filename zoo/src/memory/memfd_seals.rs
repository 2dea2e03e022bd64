//! Seals of a memory file.

use std::{fs, io::Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

use crate::prelude::*;

pub const GOAL: &str = "seals of a memory file survive and act";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut open = fs::File::from(memfd_create("open", flags)?);
    let mut sealed = fs::File::from(memfd_create("sealed", flags)?);
    let plain = memfd_create("plain", MemfdFlags::CLOEXEC)?;
    open.write_all(b"open")?;
    sealed.write_all(b"sealed")?;
    fcntl_add_seals(&open, SealFlags::GROW)?;
    fcntl_add_seals(&sealed, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::SEAL)?;
    let look = || -> anyhow::Result<_> {
        Ok([fcntl_get_seals(&open)?, fcntl_get_seals(&sealed)?, fcntl_get_seals(&plain)?])
    };
    let before = look()?;
    stage.pause()?;
    ensure!(look()? == before, "{:?} instead of {before:?}", look()?);
    ensure!(fs::File::try_clone(&sealed)?.write_all(b"x").is_err(), "sealed, but written");
    Ok(())
}
