//! poll(2) without a time-out ends when another thread writes, not before.

use std::{io::Write, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "poll(2) without a time-out waits until something happens";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, mut writer) = std::io::pipe()?;
    super::woken(stage, move || Ok(writer.write_all(b"x")?), || {
        let mut set = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let count = raw::syscall(libc::SYS_poll, &[raw::into(&mut set), 1, usize::MAX])?;
        ensure!(count == 1 && set.revents & libc::POLLIN != 0, "poll: {count}, {:#x}", set.revents);
        Ok(())
    })
}
