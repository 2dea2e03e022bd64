//! setitimer(2) ITIMER_REAL: first expiry after the time that remained, then with its interval.

use crate::prelude::*;

pub const GOAL: &str = "the real-time interval timer goes on";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGALRM, libc::SA_RESTART, &[])?;
    super::set_interval_timer(libc::ITIMER_REAL, 60_000 * MS, 7_000 * MS)?;
    let still = stage.pause()?;
    let (left, interval) = super::interval_timer(libc::ITIMER_REAL)?;
    ensure!(interval == 7_000 * MS, "interval {interval:?}");
    ensure!(left < 60_000 * MS && left + still.max + 20_000 * MS > 60_000 * MS, "left {left:?}");
    super::set_interval_timer(libc::ITIMER_REAL, 30 * MS, 30 * MS)?;
    stage.wait_until("alarms", || Ok(raw::caught().len() >= 3))
}
