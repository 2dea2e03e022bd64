//! A named pipe of which only the reading end is open, with data from a writer who is gone; and one
//! with only the writing end.

use std::{fs, io::{Read, Write}, os::unix::fs::OpenOptionsExt};

use crate::prelude::*;

pub const GOAL: &str = "a named pipe with one end open keeps data and state";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("fifo");
    super::make_fifo(&path)?;
    let mut reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    fs::File::options().write(true).open(&path)?.write_all(b"from one who is gone")?;
    let other = stage.path("other");
    super::make_fifo(&other)?;
    let its_reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&other)?;
    let mut writer = fs::File::options().write(true).open(&other)?;
    drop(its_reader);
    stage.pause()?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text == "from one who is gone", "{text}");
    let result = writer.write(b"x").map_err(|e| e.raw_os_error());
    ensure!(result == Err(Some(libc::EPIPE)), "{result:?} instead of EPIPE");
    Ok(())
}
