//! Pipes of which only one end is left: data and end of file, or a broken pipe.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "a pipe with one end closed gives its data, then the end; or is broken";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut reader, mut writer) = std::io::pipe()?;
    writer.write_all(b"last words")?;
    drop(writer);
    let (mut empty, writer) = std::io::pipe()?;
    drop(writer);
    let (other, mut broken) = std::io::pipe()?;
    drop(other);
    stage.pause()?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text == "last words", "{text}");
    ensure!(empty.read(&mut [0; 4])? == 0, "not at its end");
    let result = broken.write(b"x").map_err(|e| e.raw_os_error());
    ensure!(result == Err(Some(libc::EPIPE)), "{result:?} instead of EPIPE");
    Ok(())
}
