//! futex(2) wait without a time-out ends when another thread wakes it, and not before.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::prelude::*;

pub const GOAL: &str = "a thread blocked on a futex wakes when another thread says so";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    static WORD: AtomicU32 = AtomicU32::new(5);
    let wake = || {
        WORD.store(6, Ordering::SeqCst);
        let count = raw::futex_wake(&WORD)?;
        ensure!(count == 1, "{count} tasks woken instead of 1");
        Ok(())
    };
    super::woken(stage, wake, || raw::futex_wait(&WORD, 5, None).context("futex"))
}
