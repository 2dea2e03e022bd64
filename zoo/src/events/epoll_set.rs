//! An epoll set that watches a pipe, an eventfd and a socket, with data of 64 bits each.

use std::{io::Write, os::unix::net::UnixStream};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::prelude::*;

pub const GOAL: &str = "an epoll set keeps what it watches, with flags and data";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (reader, mut writer) = std::io::pipe()?;
    let counter = rustix::event::eventfd(3, rustix::event::EventfdFlags::empty())?;
    let (socket, _peer) = UnixStream::pair()?;
    epoll::add(&set, &reader, EventData::new_u64(u64::MAX - 1), EventFlags::IN)?;
    epoll::add(&set, &counter, EventData::new_u64(1 << 40), EventFlags::IN)?;
    let both = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
    epoll::add(&set, &socket, EventData::new_u64(3), both)?;
    super::keep_set(stage, &[&set])?;
    let events = super::wait(&set)?;
    let wanted = [(3, EventFlags::OUT.bits()), (1 << 40, EventFlags::IN.bits())];
    ensure!(events == wanted, "{events:x?} instead of {wanted:x?}");
    writer.write_all(b"x")?;
    let events = super::wait(&set)?;
    ensure!(events.contains(&(u64::MAX - 1, EventFlags::IN.bits())), "{events:x?}");
    Ok(())
}
