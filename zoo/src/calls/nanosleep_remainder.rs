//! nanosleep(2) with a place for the remainder: it sleeps to the end and leaves the place alone or
//! holds a remainder that was written when it was interrupted.

use crate::prelude::*;

pub const GOAL: &str = "nanosleep(2) with a remainder goes on for the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::timed(stage, |time| {
        let time = raw::timespec(time);
        let mut rest = raw::timespec(Duration::ZERO);
        let arguments = [raw::at(&time), raw::into(&mut rest)];
        Ok(raw::syscall(libc::SYS_nanosleep, &arguments)?)
    })
}
