//! A unix socket whose peer is held by a process outside of the tree.

use std::{io::{Read, Write}, os::unix::net::UnixStream};

use crate::prelude::*;

pub const GOAL: &str = "a unix socket connected to the outside is refused by name";
pub const KIND: Kind = Kind::Refused("socket");

pub fn run(stage: &Stage) -> Verdict {
    let (mut mine, mut other) = UnixStream::pair()?;
    super::outside(stage, |stage| {
        stage.wait_for_go()?;
        Ok(other.write_all(b"x")?)
    })?;
    drop(other);
    stage.pause()?;
    mine.read_exact(&mut [0]).context("the connection is broken")?;
    Ok(())
}
