//! futex(2) wait with a time-out on a word that nobody wakes.

use std::sync::atomic::AtomicU32;

use crate::prelude::*;

pub const GOAL: &str = "futex(2) wait times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let word = AtomicU32::new(5);
    super::timed(stage, |time| match raw::futex_wait(&word, 5, Some(time)) {
        Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => Ok(0),
        other => bail!("futex: {other:?} instead of a time-out"),
    })
}
