//! Interval and POSIX timers.

use stasis_model::{IntervalTimer, Live, NsPid, PosixTimer, Time, TimerNotify};

use crate::{
    Error, Result,
    error::Place,
    wire::timer::{ItimerEntry, PosixTimerEntry, TaskTimersEntry},
};

const SIGEV_SIGNAL: u32 = 0;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD_ID: u32 = 4;

/// Decoded timers of a process: real, virtual, prof, POSIX.
pub(super) type Timers = (IntervalTimer, IntervalTimer, IntervalTimer, Vec<PosixTimer>);

pub(super) fn encode(live: &Live) -> TaskTimersEntry {
    TaskTimersEntry {
        real: encode_interval(&live.itimer_real),
        virt: encode_interval(&live.itimer_virtual),
        prof: encode_interval(&live.itimer_prof),
        posix: live.posix_timers.iter().map(encode_posix).collect(),
    }
}

pub(super) fn decode(place: Place, entry: &TaskTimersEntry) -> Result<Timers> {
    let posix = entry.posix.iter().map(|timer| decode_posix(place, timer));
    Ok((
        decode_interval(place, &entry.real)?,
        decode_interval(place, &entry.virt)?,
        decode_interval(place, &entry.prof)?,
        posix.collect::<Result<_>>()?,
    ))
}

/// A time from seconds and nanoseconds of a message.
pub(super) fn time(place: Place, field: &'static str, seconds: u64, nanos: u64) -> Result<Time> {
    match u32::try_from(nanos) {
        Ok(nanoseconds) if nanoseconds < 1_000_000_000 => Ok(Time { seconds, nanoseconds }),
        _ => Err(place.field(field, format!("{nanos} nanoseconds are more than a second"))),
    }
}

fn encode_interval(timer: &IntervalTimer) -> ItimerEntry {
    let (isec, iusec) = microseconds(timer.interval);
    let (vsec, vusec) = microseconds(timer.remaining);
    ItimerEntry { isec, iusec, vsec, vusec }
}

/// Rounds up, since a remainder of zero means that the timer is not armed.
fn microseconds(time: Time) -> (u64, u64) {
    let micros = u64::from(time.nanoseconds.div_ceil(1000));
    (time.seconds.saturating_add(micros / 1_000_000), micros % 1_000_000)
}

fn decode_interval(place: Place, entry: &ItimerEntry) -> Result<IntervalTimer> {
    let time = |seconds, micros: u64| time(place, "timers", seconds, micros.saturating_mul(1000));
    Ok(IntervalTimer {
        interval: time(entry.isec, entry.iusec)?,
        remaining: time(entry.vsec, entry.vusec)?,
    })
}

fn encode_posix(timer: &PosixTimer) -> PosixTimerEntry {
    let (it_sigev_notify, notify_thread_id) = match timer.notify {
        TimerNotify::Process => (SIGEV_SIGNAL, None),
        TimerNotify::None => (SIGEV_NONE, None),
        TimerNotify::Thread(tid) => (SIGEV_THREAD_ID, Some(tid.0)),
    };
    PosixTimerEntry {
        it_id: timer.id,
        clock_id: timer.clock.cast_unsigned(),
        si_signo: timer.signal.cast_unsigned(),
        it_sigev_notify,
        sival_ptr: timer.value,
        overrun: timer.overrun,
        isec: timer.setting.interval.seconds,
        insec: timer.setting.interval.nanoseconds.into(),
        vsec: timer.setting.remaining.seconds,
        vnsec: timer.setting.remaining.nanoseconds.into(),
        notify_thread_id,
    }
}

fn decode_posix(place: Place, entry: &PosixTimerEntry) -> Result<PosixTimer> {
    let notify = match entry.it_sigev_notify {
        SIGEV_SIGNAL => TimerNotify::Process,
        SIGEV_NONE => TimerNotify::None,
        SIGEV_THREAD_ID => {
            TimerNotify::Thread(NsPid(place.need(entry.notify_thread_id, "notify_thread_id")?))
        }
        other => {
            let reason = format!("its kind of notification {other} is not known");
            return Err(Error::unsupported(format!("timer {}", entry.it_id), reason));
        }
    };
    Ok(PosixTimer {
        id: entry.it_id,
        clock: entry.clock_id.cast_signed(),
        signal: entry.si_signo.cast_signed(),
        notify,
        value: entry.sival_ptr,
        overrun: entry.overrun,
        setting: IntervalTimer {
            interval: time(place, "posix", entry.isec, entry.insec)?,
            remaining: time(place, "posix", entry.vsec, entry.vnsec)?,
        },
    })
}
