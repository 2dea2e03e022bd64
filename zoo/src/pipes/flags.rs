//! Flags of each pipe end: non-blocking, packets (O_DIRECT) whose boundaries survive.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::prelude::*;

pub const GOAL: &str = "pipe ends keep their flags, and packets their boundaries";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (packets_out, packets_in) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
    for packet in [&b"one"[..], b"second", b"the third packet"] {
        rustix::io::write(&packets_in, packet)?;
    }
    let (reader, writer) = pipe_with(PipeFlags::empty())?;
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
    let all: [&OwnedFd; 4] = [&packets_out, &packets_in, &reader, &writer];
    crate::files::keep(stage, || crate::files::flags(&all))?;
    for packet in [&b"one"[..], b"second", b"the third packet"] {
        let mut bytes = [0; 100];
        let count = rustix::io::read(&packets_out, &mut bytes)?;
        ensure!(&bytes[..count] == packet, "{:?} instead of {packet:?}", &bytes[..count]);
    }
    ensure!(rustix::io::read(&reader, &mut [0; 1]).is_err(), "an empty pipe gave something");
    Ok(())
}
