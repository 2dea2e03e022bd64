//! An epoll set inside an epoll set, shared with a child.

use std::io::Write;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::prelude::*;

pub const GOAL: &str = "nested epoll sets survive, shared with a child";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let outer = epoll::create(epoll::CreateFlags::empty())?;
    let inner = epoll::create(epoll::CreateFlags::empty())?;
    let (reader, mut writer) = std::io::pipe()?;
    epoll::add(&inner, &reader, EventData::new_u64(5), EventFlags::IN)?;
    epoll::add(&outer, &inner, EventData::new_u64(6), EventFlags::IN)?;
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("written")?;
        let events = (super::wait(&outer)?, super::wait(&inner)?);
        ensure!(events == (vec![(6, 1)], vec![(5, 1)]), "{events:x?}");
        Ok(())
    })?;
    stage.wait_for("child")?;
    super::keep_set(stage, &[&outer, &inner])?;
    ensure!(super::wait(&outer)?.is_empty(), "something happened in between");
    writer.write_all(b"x")?;
    stage.mark("written")?;
    child.join(stage)
}
