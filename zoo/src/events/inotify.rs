//! Watches of a file and a directory: numbers, masks; events that happen afterwards arrive.

use std::fs;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::prelude::*;

pub const GOAL: &str = "inotify watches keep their numbers and masks, and report events";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::create_dir(stage.path("dir"))?;
    fs::write(stage.path("file"), "x")?;
    fs::write(stage.path("gone"), "x")?;
    let queue = inotify::init(CreateFlags::NONBLOCK)?;
    let gone = inotify::add_watch(&queue, stage.path("gone"), WatchFlags::OPEN)?;
    let dir = inotify::add_watch(&queue, stage.path("dir"), WatchFlags::CREATE)?;
    let file = inotify::add_watch(&queue, stage.path("file"), WatchFlags::MODIFY)?;
    // A gap in the numbers, and an empty queue again.
    inotify::remove_watch(&queue, gone)?;
    super::read_inotify(&queue)?;
    stage.pause()?;
    let early = super::read_inotify(&queue)?;
    ensure!(early.is_empty(), "events out of nowhere: {early:x?}");
    fs::write(stage.path("dir/new"), "")?;
    fs::write(stage.path("file"), "longer")?;
    let mut events = super::read_inotify(&queue)?;
    // Truncating and writing may be told as one or two.
    events.dedup();
    let wanted = [(dir, WatchFlags::CREATE.bits()), (file, WatchFlags::MODIFY.bits())];
    ensure!(events == wanted, "{events:x?} instead of {wanted:x?}");
    Ok(())
}
