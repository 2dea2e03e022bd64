//! Events that wait in an inotify queue.

use std::fs;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::prelude::*;

pub const GOAL: &str = "waiting inotify events survive, are refused, or told as a loss";
pub const KIND: Kind = Kind::KeptOrRefused("inotify");

pub fn run(stage: &Stage) -> Verdict {
    fs::create_dir(stage.path("dir"))?;
    let queue = inotify::init(CreateFlags::NONBLOCK)?;
    let dir = inotify::add_watch(&queue, stage.path("dir"), WatchFlags::CREATE)?;
    fs::write(stage.path("dir/new"), "")?;
    stage.pause()?;
    let events = super::read_inotify(&queue)?;
    let wanted = [(dir, WatchFlags::CREATE.bits())];
    ensure!(events == wanted, "{events:x?} instead of {wanted:x?}");
    Ok(())
}
