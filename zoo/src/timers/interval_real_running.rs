//! A fast ITIMER_REAL keeps ticking, and its handler is not called in bursts.

use crate::prelude::*;

pub const GOAL: &str = "a fast interval timer keeps ticking";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGALRM, libc::SA_RESTART, &[])?;
    super::set_interval_timer(libc::ITIMER_REAL, 50 * MS, 50 * MS)?;
    stage.pause()?;
    let before = raw::caught().len();
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    stage.wait_until("ticks", || Ok(raw::caught().len() >= before + 4))?;
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    ensure!((100 * MS..2_000 * MS).contains(&elapsed), "4 ticks of 50 ms took {elapsed:?}");
    Ok(())
}
