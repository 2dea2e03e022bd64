//! A named pipe that has been deleted, open for both directions, with data.

use std::{fs, io::{Read, Write}};

use crate::prelude::*;

pub const GOAL: &str = "a deleted named pipe survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("deleted");

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("fifo");
    super::make_fifo(&path)?;
    let mut both = fs::File::options().read(true).write(true).open(&path)?;
    let mut writer = fs::File::options().write(true).open(&path)?;
    both.write_all(b"data")?;
    fs::remove_file(&path)?;
    stage.pause()?;
    let mut bytes = [0; 4];
    both.read_exact(&mut bytes)?;
    ensure!(&bytes == b"data", "{bytes:?}");
    writer.write_all(b"more")?;
    both.read_exact(&mut bytes)?;
    ensure!(&bytes == b"more", "the two are no longer one pipe");
    Ok(())
}
