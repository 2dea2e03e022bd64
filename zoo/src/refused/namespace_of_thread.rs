//! A thread in a network namespace of its own.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "a thread in another namespace is refused by name";
pub const KIND: Kind = Kind::Refused("namespace");

pub fn run(stage: &Stage) -> Verdict {
    let stage_of_thread = stage.clone();
    let thread = std::thread::spawn(move || -> Verdict {
        raw::syscall(libc::SYS_unshare, &[libc::CLONE_NEWNET as usize])?;
        let look = || fs::read_link("/proc/thread-self/ns/net");
        let before = look()?;
        stage_of_thread.mark("thread")?;
        stage_of_thread.wait_for_go()?;
        ensure!(look()? == before, "in {:?} now", look()?);
        Ok(())
    });
    stage.wait_for("thread")?;
    stage.pause()?;
    thread.join().expect("nobody panics")
}
