//! select(2) with a time-out on a pipe in which nothing happens.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "select(2) times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, _writer) = std::io::pipe()?;
    super::timed(stage, |time| {
        let fd = reader.as_raw_fd() as usize;
        let mut set = [0_u64; 16];
        set[fd / 64] |= 1 << (fd % 64);
        let mut time = raw::timeval(time);
        let arguments = [fd + 1, raw::into(&mut set), 0, 0, raw::into(&mut time)];
        Ok(raw::syscall(libc::SYS_select, &arguments)?)
    })
}
