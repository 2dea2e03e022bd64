//! A POSIX timer without notification, and one that is not armed.

use crate::prelude::*;

pub const GOAL: &str = "silent and disarmed POSIX timers survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let silent = super::PosixTimer::silent(libc::CLOCK_REALTIME)?;
    silent.set(50_000 * MS, Duration::ZERO)?;
    let disarmed = super::PosixTimer::signal(libc::CLOCK_MONOTONIC, libc::SIGUSR1, 0)?;
    let still = stage.pause()?;
    let (left, interval) = silent.get()?;
    ensure!(interval.is_zero(), "interval {interval:?}");
    ensure!(left < 50_000 * MS && left + still.max + 20_000 * MS > 50_000 * MS, "left {left:?}");
    ensure!(disarmed.get()? == (Duration::ZERO, Duration::ZERO), "armed: {:?}", disarmed.get()?);
    raw::catch_with(libc::SIGUSR1, libc::SA_RESTART, &[])?;
    disarmed.set(5 * MS, Duration::ZERO)?;
    stage.wait_until("expiry", || Ok(raw::caught().len() == 1))
}
