//! clock_nanosleep(2) with a relative time on CLOCK_MONOTONIC, as the C library's nanosleep does.

use crate::prelude::*;

pub const GOAL: &str = "a relative clock_nanosleep(2) goes on for the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::timed(stage, |time| {
        let time = raw::timespec(time);
        let clock = libc::CLOCK_MONOTONIC as usize;
        Ok(raw::syscall(libc::SYS_clock_nanosleep, &[clock, 0, raw::at(&time), 0])?)
    })
}
