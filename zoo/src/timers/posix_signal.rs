//! timer_create(2) with a signal, its data, an interval and the time that remained.

use crate::prelude::*;

pub const GOAL: &str = "a POSIX timer keeps its signal, data, interval and remaining time";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signal = libc::SIGRTMIN() + 5;
    raw::catch_with(signal, libc::SA_RESTART, &[])?;
    let timer = super::PosixTimer::signal(libc::CLOCK_MONOTONIC, signal, 0xabcd)?;
    timer.set(60_000 * MS, 40 * MS)?;
    let still = stage.pause()?;
    let (left, interval) = timer.get()?;
    ensure!(interval == 40 * MS, "interval {interval:?}");
    ensure!(left < 60_000 * MS && left + still.max + 20_000 * MS > 60_000 * MS, "left {left:?}");
    timer.set(10 * MS, 40 * MS)?;
    stage.wait_until("expiries", || Ok(raw::caught().len() >= 3))?;
    let caught = raw::caught()[0];
    let seen = (caught.signal, caught.code, caught.value);
    ensure!(seen == (signal, libc::SI_TIMER, 0xabcd), "{seen:x?}");
    Ok(())
}
