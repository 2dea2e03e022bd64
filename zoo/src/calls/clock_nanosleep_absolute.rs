//! clock_nanosleep(2) until a point in time: it returns at that point, or at once if that has
//! passed meanwhile, for the clock went on.

use crate::prelude::*;

pub const GOAL: &str = "clock_nanosleep(2) until a point in time ends at that point";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    stage.ready()?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    let deadline = raw::timespec(start + super::TIME);
    let clock = libc::CLOCK_MONOTONIC as usize;
    let absolute = libc::TIMER_ABSTIME as usize;
    let arguments = [clock, absolute, raw::at(&deadline), 0];
    raw::syscall(libc::SYS_clock_nanosleep, &arguments).context("clock_nanosleep")?;
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    stage.wait_for_go()?.check_deadline(super::TIME, elapsed)
}
