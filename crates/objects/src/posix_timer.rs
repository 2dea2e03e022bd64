//! timer_create(2): timers with ids. Frozen from `/proc/PID/timers` and by asking each for its setting.

use stasis_model::{IntervalTimer, NsPid, PosixTimer, Subject, Time, TimerNotify};
use stasis_proctext::timers::{Notify, Timer};
use stasis_tracee::{Batch, Call, Data, Outcome, ProcDir};

use crate::{error::Result, gathering::Gathering};

const TIMER_CREATE: i64 = 222;
const TIMER_SETTIME: i64 = 223;
const TIMER_GETTIME: i64 = 224;
const TIMER_GETOVERRUN: i64 = 225;
const PRCTL: i64 = 157;
const PR_TIMER_CREATE_RESTORE_IDS: i32 = 77;
const SIGEV_SIGNAL: u32 = 0;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD_ID: u32 = 4;

/// A question put to one timer.
#[derive(Debug)]
pub struct Asked {
    timer: Timer,
    setting: Data,
    overrun: Call,
}

/// Which timers a process has.
pub fn list(proc: &ProcDir) -> Result<Vec<Timer>> {
    Ok(proc.parse("timers", stasis_proctext::timers::parse)?)
}

/// Asks for these timers of a process; [`read`] takes the answers.
pub fn ask(timers: Vec<Timer>, batch: &mut Batch) -> Vec<Asked> {
    let ask_one = |timer: Timer| {
        let setting = batch.space(32);
        batch.call("timer_gettime", TIMER_GETTIME, [timer.id.into(), setting.into()]);
        let overrun = batch.try_call("timer_getoverrun", TIMER_GETOVERRUN, [timer.id.into()]);
        Asked { timer, setting, overrun }
    };
    timers.into_iter().map(ask_one).collect()
}

pub fn read(
    outcome: &Outcome,
    asked: &[Asked],
    subject: &Subject,
    gathering: &mut Gathering,
) -> Vec<PosixTimer> {
    let mut timers = Vec::new();
    for question in asked {
        let time = |place: usize| Time {
            seconds: outcome.word(question.setting, place),
            nanoseconds: u32::try_from(outcome.word(question.setting, place + 1)).unwrap_or(0),
        };
        let timer = &question.timer;
        let notify = match timer.notify {
            Notify::None => TimerNotify::None,
            Notify::Signal => TimerNotify::Process,
            Notify::Thread(tid) => TimerNotify::Thread(gathering.own_id(tid).unwrap_or(NsPid(tid))),
        };
        if timer.clock < -6 {
            let reason =
                format!("timer {} on clock {} of a device or thread", timer.id, timer.clock);
            gathering.obstacle(subject.clone(), reason, None);
        }
        timers.push(PosixTimer {
            id: timer.id,
            clock: timer.clock,
            signal: timer.signal,
            notify,
            value: timer.value,
            overrun: outcome.result(question.overrun).map_or(0, |count| count as u32),
            setting: IntervalTimer { interval: time(0), remaining: time(2) },
        });
    }
    timers.sort_by_key(|timer| timer.id);
    timers
}

/// Makes the timers with their ids (Linux 6.15 and later) and arms them; threads must exist.
pub fn thaw(timers: &[PosixTimer], batch: &mut Batch) {
    if timers.is_empty() {
        return;
    }
    batch.call("prctl", PRCTL, [PR_TIMER_CREATE_RESTORE_IDS.into(), 1.into()]);
    for timer in timers {
        let (how, tid) = match timer.notify {
            TimerNotify::Process => (SIGEV_SIGNAL, 0),
            TimerNotify::None => (SIGEV_NONE, 0),
            TimerNotify::Thread(tid) => (SIGEV_THREAD_ID, tid.0),
        };
        let event = batch.space(64);
        batch.word(event, 0, timer.value);
        batch.word(event, 1, u64::from(timer.signal as u32) | u64::from(how) << 32);
        batch.word(event, 2, u64::from(tid.cast_unsigned()));
        let id = batch.bytes(&timer.id.to_ne_bytes());
        batch.call("timer_create", TIMER_CREATE, [timer.clock.into(), event.into(), id.into()]);
    }
    batch.call("prctl", PRCTL, [PR_TIMER_CREATE_RESTORE_IDS.into(), 0.into()]);
    for timer in timers {
        let IntervalTimer { interval, remaining } = timer.setting;
        if remaining.is_zero() && interval.is_zero() {
            continue;
        }
        let first = if remaining.is_zero() { interval } else { remaining };
        let setting = batch.words(&[
            interval.seconds,
            u64::from(interval.nanoseconds),
            first.seconds,
            u64::from(first.nanoseconds),
        ]);
        let arguments = [timer.id.into(), 0.into(), setting.into(), 0.into()];
        batch.call("timer_settime", TIMER_SETTIME, arguments);
    }
}
