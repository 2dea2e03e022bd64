//! One-shot entries, used and unused, and edge-triggered ones.

use std::io::Write;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::prelude::*;

pub const GOAL: &str = "one-shot and edge-triggered entries keep their modes";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let pipes = [std::io::pipe()?, std::io::pipe()?, std::io::pipe()?];
    let once = EventFlags::IN | EventFlags::ONESHOT;
    let modes = [once, once, EventFlags::IN | EventFlags::ET];
    for (number, ((reader, _), mode)) in (0..).zip(pipes.iter().zip(modes)) {
        epoll::add(&set, reader, EventData::new_u64(number), mode)?;
    }
    (&pipes[0].1).write_all(b"x")?;
    let events = super::wait(&set)?;
    ensure!(events == [(0, 1)], "{events:x?}");
    super::keep_set(stage, &[&set])?;
    ensure!(super::wait(&set)?.is_empty(), "the used one-shot entry fired again");
    (&pipes[1].1).write_all(b"x")?;
    (&pipes[2].1).write_all(b"x")?;
    let events = super::wait(&set)?;
    ensure!(events == [(1, 1), (2, 1)], "{events:x?}");
    let events = super::wait(&set)?;
    ensure!(events.is_empty(), "fired a second time: {events:x?}");
    let again = EventData::new_u64(7);
    epoll::modify(&set, &pipes[0].0, again, once).context("the entry is gone")?;
    ensure!(super::wait(&set)? == [(7, 1)], "the entry cannot be armed again");
    Ok(())
}
