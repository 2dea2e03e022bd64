//! epoll_wait(2) with a time-out. The kernel itself ends this call with EINTR when the task is
//! stopped; the program must not see that.

use rustix::event::epoll;

use crate::prelude::*;

pub const GOAL: &str = "epoll_wait(2) times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use std::os::fd::AsRawFd;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (reader, _writer) = std::io::pipe()?;
    epoll::add(&set, &reader, epoll::EventData::new_u64(7), epoll::EventFlags::IN)?;
    super::timed(stage, |time| {
        let mut events = [0_u8; 120];
        let fd = set.as_raw_fd() as usize;
        let arguments = [fd, raw::into(&mut events), 10, time.as_millis() as usize];
        Ok(raw::syscall(libc::SYS_epoll_wait, &arguments)?)
    })
}
