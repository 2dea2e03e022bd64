//! A slave whose master was closed.

use std::{fs::File, io::{Read, Write}};

use crate::prelude::*;

pub const GOAL: &str = "a terminal that was hung up stays so";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    drop(master);
    let mut slave = File::from(slave);
    stage.pause()?;
    ensure!(slave.read(&mut [0; 10])? == 0, "something was read");
    let error = slave.write(b"x").err().and_then(|error| error.raw_os_error());
    ensure!(error == Some(libc::EIO), "{error:?}");
    Ok(())
}
