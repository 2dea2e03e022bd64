//! ITIMER_REAL without an interval fires once, after the time that remained.

use crate::prelude::*;

pub const GOAL: &str = "a one-shot interval timer fires once, when the rest is over";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGALRM, libc::SA_RESTART, &[])?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    super::set_interval_timer(libc::ITIMER_REAL, crate::calls::TIME, Duration::ZERO)?;
    stage.ready()?;
    stage.wait_until("alarm", || Ok(raw::caught().len() == 1))?;
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    stage.wait_for_go()?.check(crate::calls::TIME, elapsed)?;
    std::thread::sleep(100 * MS);
    ensure!(raw::caught().len() == 1, "fired {} times", raw::caught().len());
    Ok(())
}
