//! nanosleep(2) without a place for the remainder sleeps for the time that remained.

use crate::prelude::*;

pub const GOAL: &str = "nanosleep(2) without a remainder goes on for the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::timed(stage, |time| {
        let time = raw::timespec(time);
        Ok(raw::syscall(libc::SYS_nanosleep, &[raw::at(&time), 0])?)
    })
}
