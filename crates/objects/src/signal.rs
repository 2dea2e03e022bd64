//! Signal actions (rt_sigaction(2)) and signals that wait, with their data.

use stasis_model::{PendingSignal, SignalAction, SignalMask};
use stasis_sys::ptrace::{self, Queue};
use stasis_tracee::{Batch, Data, Outcome};

use crate::error::{Error, Result};

const RT_SIGACTION: i64 = 13;
const RT_SIGTIMEDWAIT: i64 = 128;
const RT_SIGQUEUEINFO: i64 = 129;
const RT_TGSIGQUEUEINFO: i64 = 297;
const KILL: usize = 9;
const STOP: usize = 19;

/// Asks for all actions; [`read_actions`] takes the answer.
pub fn ask_actions(batch: &mut Batch) -> Data {
    let answers = batch.space(64 * 32);
    for signal in 1..=64usize {
        let place = answers.skip((signal - 1) * 32);
        batch.call("rt_sigaction", RT_SIGACTION, [signal.into(), 0.into(), place.into(), 8.into()]);
    }
    answers
}

pub fn read_actions(outcome: &Outcome, answers: Data) -> [SignalAction; 64] {
    let mut actions = [SignalAction::default(); 64];
    for (index, action) in actions.iter_mut().enumerate() {
        let word = |place: usize| outcome.word(answers, index * 4 + place);
        *action = SignalAction {
            handler: word(0),
            flags: word(1),
            restorer: word(2),
            mask: SignalMask(word(3)),
        };
    }
    actions
}

/// Adds what sets the actions of a process that has none but defaults, or ignores signals of the set `ignored`, as
/// execve(2) leaves them.
pub fn thaw_actions(actions: &[SignalAction; 64], ignored: SignalMask, batch: &mut Batch) {
    for (index, action) in actions.iter().enumerate() {
        let signal = index + 1;
        let is_there = *action == SignalAction::default() && !ignored.contains(signal as i32);
        if signal == KILL || signal == STOP || is_there {
            continue;
        }
        let new = batch.words(&[action.handler, action.flags, action.restorer, action.mask.0]);
        batch.call("rt_sigaction", RT_SIGACTION, [signal.into(), new.into(), 0.into(), 8.into()]);
    }
}

/// Signals that wait for one thread or for its whole process.
pub fn freeze_pending(tid: i32, queue: Queue) -> Result<Vec<PendingSignal>> {
    let signals = ptrace::pending_signals(tid, queue)
        .map_err(Error::at(format!("thread {tid}"), "ptrace(PEEKSIGINFO)"))?;
    Ok(signals.into_iter().map(|siginfo| PendingSignal { siginfo }).collect())
}

/// Takes away signals that came to a blank itself: the ends of its zombies.
pub fn flush_child_signals(batch: &mut Batch) {
    let set = batch.words(&[1 << (17 - 1)]);
    let now = batch.words(&[0, 0]);
    batch.try_call(
        "rt_sigtimedwait",
        RT_SIGTIMEDWAIT,
        [set.into(), 0.into(), now.into(), 8.into()],
    );
}

/// Queues signals again; only the task itself may send itself signals with any data.
pub fn thaw_pending(
    signals: &[PendingSignal],
    own_pid: i32,
    thread: Option<i32>,
    batch: &mut Batch,
) {
    for pending in signals {
        let info = batch.bytes(&pending.siginfo);
        let signal = pending.signal();
        match thread {
            Some(tid) => batch.call(
                "rt_tgsigqueueinfo",
                RT_TGSIGQUEUEINFO,
                [own_pid.into(), tid.into(), signal.into(), info.into()],
            ),
            None => batch.call(
                "rt_sigqueueinfo",
                RT_SIGQUEUEINFO,
                [own_pid.into(), signal.into(), info.into()],
            ),
        };
    }
}
