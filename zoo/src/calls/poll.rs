//! poll(2) with a time-out on a pipe in which nothing happens.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "poll(2) times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, _writer) = std::io::pipe()?;
    super::timed(stage, |time| {
        let mut set = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let arguments = [raw::into(&mut set), 1, time.as_millis() as usize];
        Ok(raw::syscall(libc::SYS_poll, &arguments)?)
    })
}
