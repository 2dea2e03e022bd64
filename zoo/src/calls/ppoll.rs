//! ppoll(2) with a time-out and a signal mask of its own: the mask before is back afterwards.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "ppoll(2) times out after the time that remained and restores the mask";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, _writer) = std::io::pipe()?;
    raw::block(&[libc::SIGUSR1])?;
    let before = raw::mask()?;
    super::timed(stage, |time| {
        let mut set = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut time = raw::timespec(time);
        let during = raw::bit(libc::SIGUSR2);
        let arguments = [raw::into(&mut set), 1, raw::into(&mut time), raw::at(&during), 8];
        Ok(raw::syscall(libc::SYS_ppoll, &arguments)?)
    })?;
    ensure!(raw::mask()? == before, "mask {:#x} instead of {before:#x}", raw::mask()?);
    Ok(())
}
