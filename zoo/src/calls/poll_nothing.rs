//! poll(2) without descriptors, used as a sleep.

use crate::prelude::*;

pub const GOAL: &str = "poll(2) on nothing times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::timed(stage, |time| Ok(raw::syscall(libc::SYS_poll, &[0, 0, time.as_millis() as usize])?))
}
