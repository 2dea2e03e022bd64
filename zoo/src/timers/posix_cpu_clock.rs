//! A POSIX timer on the CPU-time clock of the process.

use crate::prelude::*;

pub const GOAL: &str = "a POSIX timer on the process's CPU clock goes on";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGUSR1, libc::SA_RESTART, &[])?;
    let timer = super::PosixTimer::signal(libc::CLOCK_PROCESS_CPUTIME_ID, libc::SIGUSR1, 8)?;
    timer.set(50_000 * MS, Duration::ZERO)?;
    stage.pause()?;
    let (left, _) = timer.get()?;
    ensure!(left > 45_000 * MS && left <= 50_100 * MS, "left {left:?}");
    timer.set(20 * MS, Duration::ZERO)?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    while raw::caught().is_empty() {
        let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
        ensure!(elapsed < 20_000 * MS, "the timer did not fire");
    }
    Ok(())
}
