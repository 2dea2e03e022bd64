//! epoll_wait(2) without a time-out ends when another thread writes, and not with EINTR.

use std::{io::Write, os::fd::AsRawFd};

use rustix::event::epoll;

use crate::prelude::*;

pub const GOAL: &str = "epoll_wait(2) without a time-out waits until something happens";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (reader, mut writer) = std::io::pipe()?;
    epoll::add(&set, &reader, epoll::EventData::new_u64(7), epoll::EventFlags::IN)?;
    super::woken(stage, move || Ok(writer.write_all(b"x")?), || {
        let mut events = [0_u8; 120];
        let arguments = [set.as_raw_fd() as usize, raw::into(&mut events), 10, usize::MAX];
        let count = raw::syscall(libc::SYS_epoll_wait, &arguments).context("epoll_wait")?;
        ensure!(count == 1 && events[4] == 7, "epoll_wait gave {count}, data {}", events[4]);
        Ok(())
    })
}
