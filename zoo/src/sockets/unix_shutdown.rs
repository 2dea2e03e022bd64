//! Sockets shut down in one direction, in both, with data left to read.

use std::{io::{Read, Write}, net::Shutdown, os::unix::net::UnixStream};

use crate::prelude::*;

pub const GOAL: &str = "half-closed unix connections stay half-closed";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut writer, mut reader) = UnixStream::pair()?;
    writer.write_all(b"left to read")?;
    writer.shutdown(Shutdown::Write)?;
    let (mut deaf, mut speaker) = UnixStream::pair()?;
    deaf.shutdown(Shutdown::Read)?;
    let (mut dead, mut other) = UnixStream::pair()?;
    dead.shutdown(Shutdown::Both)?;
    stage.pause()?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text == "left to read", "{text}");
    reader.write_all(b"ok").context("the other direction is closed")?;
    ensure!(writer.read(&mut [0; 9])? == 2, "the other direction is closed");
    ensure!(writer.write(b"x").is_err(), "the closed direction is open");
    ensure!(speaker.write(b"x").is_err(), "somebody listens");
    ensure!(deaf.read(&mut [0; 9])? == 0, "somebody spoke");
    deaf.write_all(b"ok").context("the open direction is closed")?;
    ensure!(dead.write(b"x").is_err() && dead.read(&mut [0; 9])? == 0, "shut down, but open");
    ensure!(other.read(&mut [0; 9])? == 0, "not at its end");
    Ok(())
}
