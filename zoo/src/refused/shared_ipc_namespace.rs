//! A process outside of the tree is in the tree's IPC namespace and uses its memory.

use crate::prelude::*;

pub const GOAL: &str = "an IPC namespace that somebody outside the tree has too is refused by name";
pub const KIND: Kind = Kind::Refused("ipc namespace");

pub fn run(stage: &Stage) -> Verdict {
    raw::syscall(libc::SYS_unshare, &[libc::CLONE_NEWIPC as usize])?;
    super::outside(stage, |stage| stage.wait_for_go().map(drop))?;
    stage.pause().map(drop)
}
