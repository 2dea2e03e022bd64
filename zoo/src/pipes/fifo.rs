//! A named pipe with data in it, open for reading, for writing, and for both.

use std::{fs, io::{Read, Write}, os::unix::fs::OpenOptionsExt};

use crate::prelude::*;

pub const GOAL: &str = "named pipes keep their data, ends and flags";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("fifo");
    super::make_fifo(&path)?;
    let mut reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    let mut writer = fs::File::options().write(true).open(&path)?;
    let both = fs::File::options().read(true).write(true).open(&path)?;
    writer.write_all(b"in the pipe")?;
    let files = [reader.try_clone()?, writer.try_clone()?, both.try_clone()?];
    crate::files::keep(stage, || crate::files::looks(&files))?;
    let mut bytes = [0; 100];
    let count = reader.read(&mut bytes)?;
    ensure!(&bytes[..count] == b"in the pipe", "{:?}", &bytes[..count]);
    drop((writer, both, files));
    // A writer who opens the name now reaches the same pipe.
    fs::File::options().write(true).open(&path)?.write_all(b"new")?;
    let count = reader.read(&mut bytes)?;
    ensure!(&bytes[..count] == b"new", "{:?}", &bytes[..count]);
    ensure!(reader.read(&mut bytes)? == 0, "not at its end");
    Ok(())
}
