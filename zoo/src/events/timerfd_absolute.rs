//! A timer descriptor with a point in time on the real-time clock, to be cancelled when that clock
//! is set.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::prelude::*;

pub const GOAL: &str = "a timer descriptor with a point in time expires then";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK)?;
    let deadline = raw::clock(libc::CLOCK_REALTIME)? + 1000 * MS;
    let it_value = Timespec {
        tv_sec: deadline.as_secs() as i64,
        tv_nsec: i64::from(deadline.subsec_nanos()),
    };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
    stage.pause()?;
    if raw::clock(libc::CLOCK_REALTIME)? + 100 * MS < deadline {
        ensure!(super::read_count(&timer)?.is_none(), "expired too early");
    }
    stage.wait_until("expiry", || Ok(super::read_count(&timer)? == Some(1)))?;
    let late = raw::clock(libc::CLOCK_REALTIME)?.checked_sub(deadline);
    ensure!(late.is_some(), "expired before its time");
    Ok(())
}
