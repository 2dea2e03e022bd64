//! Connections that both sides have closed, of which one is still open as a descriptor.

use std::{io::{ErrorKind, Read, Write}, net::Shutdown};

use crate::prelude::*;

pub const GOAL: &str = "a TCP connection that has ended is at its end, not unconnected";
pub const KIND: Kind = Kind::Survives;

const CLOSED: u8 = 7;

pub fn run(stage: &Stage) -> Verdict {
    let (first, mut last) = super::tcp_pair("127.0.0.1")?;
    first.shutdown(Shutdown::Write)?;
    stage.wait_until("the first end", || Ok(super::tcp_state(&last)? == 8))?;
    last.shutdown(Shutdown::Write)?;
    stage.wait_until("the second end", || Ok(super::tcp_state(&last)? == CLOSED))?;
    stage.pause()?;
    ensure!(last.read(&mut [0; 9])? == 0, "not at its end");
    let error = last.write(b"x").map_err(|error| error.kind());
    ensure!(error == Err(ErrorKind::BrokenPipe), "{error:?}");
    Ok(())
}
