//! Input in canonical mode: a finished line, one that was ended by `^D`, and one that is still
//! being typed, of which the last characters can still be erased.

use std::{fs::File, io::{Read, Write}};

use crate::prelude::*;

pub const GOAL: &str = "lines typed at a terminal end where they ended, and an open one stays open";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    master.write_all(b"one\ntwo\x04thrxx")?;
    stage.pause()?;
    let mut next = || -> anyhow::Result<String> {
        let mut line = [0; 100];
        let len = slave.read(&mut line)?;
        Ok(String::from_utf8_lossy(&line[..len]).into_owned())
    };
    ensure!(next()? == "one\n");
    ensure!(next()? == "two");
    master.write_all(b"\x7f\x7fee\n")?;
    let line = next()?;
    ensure!(line == "three\n", "{line:?}");
    Ok(())
}
