//! clock_nanosleep(2) with a relative time on CLOCK_BOOTTIME and a place for the remainder.

use crate::prelude::*;

pub const GOAL: &str = "a relative clock_nanosleep(2) on the boot clock goes on";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::timed(stage, |time| {
        let time = raw::timespec(time);
        let mut rest = raw::timespec(Duration::ZERO);
        let clock = libc::CLOCK_BOOTTIME as usize;
        let arguments = [clock, 0, raw::at(&time), raw::into(&mut rest)];
        Ok(raw::syscall(libc::SYS_clock_nanosleep, &arguments)?)
    })
}
