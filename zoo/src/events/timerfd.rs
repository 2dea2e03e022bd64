//! Timer descriptors: not armed, one-shot, with an interval, expired several times unread; on
//! three clocks.

use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

use crate::prelude::*;

pub const GOAL: &str = "timer descriptors keep time left, interval and expiries";
pub const KIND: Kind = Kind::Survives;

fn time(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

fn make(clock: TimerfdClockId, first: Duration, interval: Duration) -> anyhow::Result<OwnedFd> {
    let timer = timerfd_create(clock, TimerfdFlags::NONBLOCK)?;
    let value = Itimerspec { it_value: time(first), it_interval: time(interval) };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &value)?;
    Ok(timer)
}

pub fn run(stage: &Stage) -> Verdict {
    let hour = Duration::from_secs(3600);
    let unarmed = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    let one_shot = make(TimerfdClockId::Boottime, hour, Duration::ZERO)?;
    let periodic = make(TimerfdClockId::Realtime, hour, 5000 * MS)?;
    let expired = make(TimerfdClockId::Monotonic, 10 * MS, 100 * MS)?;
    let over = make(TimerfdClockId::Monotonic, 10 * MS, Duration::ZERO)?;
    std::thread::sleep(350 * MS);
    let still = stage.pause()?;
    ensure!(super::read_count(&unarmed)?.is_none(), "the unarmed timer expired");
    for (timer, interval) in [(&one_shot, Duration::ZERO), (&periodic, 5000 * MS)] {
        let value = timerfd_gettime(timer)?;
        ensure!(value.it_interval == time(interval), "interval {:?}", value.it_interval);
        let left = Duration::new(value.it_value.tv_sec as u64, value.it_value.tv_nsec as u32);
        ensure!(left <= hour && left + still.max + 30_000 * MS > hour, "left {left:?}");
        ensure!(super::read_count(timer)?.is_none(), "expired too early");
    }
    let count = super::read_count(&expired)?.context("the periodic timer did not expire")?;
    ensure!((4..1000).contains(&count), "{count} expiries of 100 ms");
    std::thread::sleep(250 * MS);
    let more = super::read_count(&expired)?.context("the periodic timer stands still")?;
    ensure!((2..30).contains(&more), "{more} expiries in 250 ms");
    let count = super::read_count(&over)?;
    ensure!(count == Some(1), "the one-shot timer that was over counts {count:?}");
    Ok(())
}
