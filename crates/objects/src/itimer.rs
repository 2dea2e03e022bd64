//! setitimer(2): the three interval timers of a process.

use stasis_model::{IntervalTimer, Time};
use stasis_tracee::{Batch, Data, Outcome};

const GETITIMER: i64 = 36;
const SETITIMER: i64 = 38;

/// Asks for the three timers; [`read`] takes the answer.
pub fn ask(batch: &mut Batch) -> Data {
    let answers = batch.space(3 * 32);
    for which in 0..3usize {
        let place = answers.skip(which * 32);
        batch.call("getitimer", GETITIMER, [which.into(), place.into()]);
    }
    answers
}

/// Real, virtual, profiling.
pub fn read(outcome: &Outcome, answers: Data) -> [IntervalTimer; 3] {
    [0, 1, 2].map(|which| {
        let time = |place: usize| {
            let at = which * 4 + place;
            let microseconds = outcome.word(answers, at + 1).min(999_999);
            Time {
                seconds: outcome.word(answers, at),
                nanoseconds: u32::try_from(microseconds * 1000).expect("below 10^9"),
            }
        };
        IntervalTimer { interval: time(0), remaining: time(2) }
    })
}

/// Arms those that were armed.
pub fn thaw(timers: [&IntervalTimer; 3], batch: &mut Batch) {
    for (which, timer) in timers.into_iter().enumerate() {
        if timer.remaining.is_zero() && timer.interval.is_zero() {
            continue;
        }
        // A periodic timer whose signal waits stands still until the signal is taken.
        let first = if timer.remaining.is_zero() { timer.interval } else { timer.remaining };
        let micro = |time: Time| u64::from(time.nanoseconds / 1000);
        let value = batch.words(&[
            timer.interval.seconds,
            micro(timer.interval),
            first.seconds,
            // A remainder below a microsecond must not disarm it.
            micro(first).max(u64::from(first.seconds == 0)),
        ]);
        batch.call("setitimer", SETITIMER, [which.into(), value.into(), 0.into()]);
    }
}
