//! ITIMER_VIRTUAL and ITIMER_PROF count CPU time that the task uses afterwards.

use crate::prelude::*;

pub const GOAL: &str = "the CPU-time interval timers go on";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    for (timer, signal) in [
        (libc::ITIMER_VIRTUAL, libc::SIGVTALRM),
        (libc::ITIMER_PROF, libc::SIGPROF),
    ] {
        raw::catch_with(signal, libc::SA_RESTART, &[])?;
        super::set_interval_timer(timer, 50_000 * MS, 3_000 * MS)?;
    }
    stage.pause()?;
    for timer in [libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        let (left, interval) = super::interval_timer(timer)?;
        ensure!(interval == 3_000 * MS, "interval {interval:?}");
        // Each setting may round up by a tick.
        ensure!(left > 48_000 * MS && left <= 50_100 * MS, "left {left:?}");
        super::set_interval_timer(timer, 20 * MS, 20 * MS)?;
    }
    let both = || {
        let caught = raw::caught();
        let count = |signal| caught.iter().filter(|c| c.signal == signal).count();
        count(libc::SIGVTALRM) >= 2 && count(libc::SIGPROF) >= 2
    };
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    while !both() {
        let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
        ensure!(elapsed < 20_000 * MS, "CPU timers did not fire: {:?}", raw::caught().len());
    }
    Ok(())
}
