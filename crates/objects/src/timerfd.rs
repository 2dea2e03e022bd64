//! timerfd_create(2): a timer behind a descriptor. Frozen from fdinfo with the time that remains.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use stasis_model::{FileKind, IntervalTimer, OpenFile, Time, Timerfd};

use crate::{
    error::{Error, Result},
    gathering::{OpenFd, file_of},
};

const TFD_TIMER_ABSTIME: u32 = 1;

pub fn freeze(open: &OpenFd) -> Result<FileKind> {
    let text = count_expirations(open)?;
    let info = stasis_proctext::fdinfo::timerfd(&text).map_err(|malformed| Error::Unsupported {
        object: open.what(),
        reason: malformed.to_string(),
    })?;
    Ok(FileKind::Timerfd(Timerfd {
        clock: info.clock,
        ticks: info.ticks,
        settime_flags: info.settime_flags,
        setting: IntervalTimer {
            interval: Time::from_nanoseconds(info.interval),
            remaining: Time::from_nanoseconds(info.remaining),
        },
    }))
}

/// Expirations after the first are counted only when somebody asks: so we ask, and fdinfo tells.
fn count_expirations(open: &OpenFd) -> Result<Vec<u8>> {
    let timer = file_of(open)?;
    rustix::time::timerfd_gettime(timer).map_err(Error::at(open.what(), "timerfd_gettime"))?;
    let path = format!("/proc/self/fdinfo/{}", timer.as_raw_fd());
    std::fs::read(path).map_err(Error::at(open.what(), "read of fdinfo"))
}

pub fn thaw(timer: &Timerfd, file: &OpenFile) -> Result<OwnedFd> {
    let what = "timerfd";
    let clock = match timer.clock {
        0 => TimerfdClockId::Realtime,
        1 => TimerfdClockId::Monotonic,
        7 => TimerfdClockId::Boottime,
        8 => TimerfdClockId::RealtimeAlarm,
        9 => TimerfdClockId::BoottimeAlarm,
        other => {
            let reason = format!("clock {other} is not one of a timerfd");
            return Err(Error::Unsupported { object: what.into(), reason });
        }
    };
    let made = rustix::time::timerfd_create(clock, TimerfdFlags::CLOEXEC)
        .map_err(Error::at(what, "timerfd_create"))?;
    arm(timer, &made, clock)?;
    if timer.ticks != 0 {
        stasis_sys::ioctl::set_timerfd_ticks(made.as_fd(), timer.ticks)
            .map_err(Error::at(what, "ioctl(TFD_IOC_SET_TICKS)"))?;
    }
    stasis_sys::fcntl::set_status_flags(made.as_fd(), file.flags)
        .map_err(Error::at(what, "F_SETFL"))?;
    Ok(made)
}

fn arm(timer: &Timerfd, made: &OwnedFd, clock: TimerfdClockId) -> Result<()> {
    let what = "timerfd";
    let mut remaining = timer.setting.remaining;
    if remaining.is_zero() && timer.setting.interval.is_zero() {
        return Ok(());
    }
    if remaining.is_zero() {
        remaining = timer.setting.interval;
    }
    // An absolute timer runs out at a date, so it is set to one again: now and what remained.
    let mut flags = TimerfdTimerFlags::from_bits_retain(timer.settime_flags);
    if timer.settime_flags & TFD_TIMER_ABSTIME != 0 {
        let now = rustix::time::clock_gettime(match clock {
            TimerfdClockId::Realtime | TimerfdClockId::RealtimeAlarm => {
                rustix::time::ClockId::Realtime
            }
            TimerfdClockId::Boottime | TimerfdClockId::BoottimeAlarm => {
                rustix::time::ClockId::Boottime
            }
            _ => rustix::time::ClockId::Monotonic,
        });
        let now = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000)
            + u64::try_from(now.tv_nsec).unwrap_or(0);
        remaining = Time::from_nanoseconds(remaining.as_nanoseconds().saturating_add(now));
    } else {
        flags = TimerfdTimerFlags::empty();
    }
    let setting =
        Itimerspec { it_interval: timespec(timer.setting.interval), it_value: timespec(remaining) };
    rustix::time::timerfd_settime(made, flags, &setting)
        .map(drop)
        .map_err(Error::at(what, "timerfd_settime"))
}

fn timespec(time: Time) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.seconds).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.nanoseconds),
    }
}
