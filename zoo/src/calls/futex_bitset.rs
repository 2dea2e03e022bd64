//! futex(2) FUTEX_WAIT_BITSET with an absolute time-out, as condition variables use it.

use std::sync::atomic::AtomicU32;

use crate::prelude::*;

pub const GOAL: &str = "futex(2) wait with a deadline ends at that deadline";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let word = AtomicU32::new(5);
    stage.ready()?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    let deadline = raw::timespec(start + super::TIME);
    let operation = libc::FUTEX_WAIT_BITSET as usize;
    let arguments = [raw::at(&word), operation, 5, raw::at(&deadline), 0, u32::MAX as usize];
    let result = raw::syscall(libc::SYS_futex, &arguments).map_err(|e| e.raw_os_error());
    ensure!(result == Err(Some(libc::ETIMEDOUT)), "futex: {result:?} instead of a time-out");
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    stage.wait_for_go()?.check_deadline(super::TIME, elapsed)
}
