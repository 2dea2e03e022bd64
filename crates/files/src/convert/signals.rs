//! Signal dispositions and pending signals.

use stasis_model::{NsPid, PendingSignal, SIGINFO_SIZE, SignalAction, SignalMask};

use crate::{
    Error, Result,
    error::Place,
    wire::signal::{SaEntry, SiginfoEntry, SignalQueueEntry},
};

/// `SIGKILL` and `SIGSTOP` have no disposition and no entry.
const WITHOUT_ENTRY: [usize; 2] = [9, 19];

pub(super) fn encode_actions(actions: &[SignalAction; 64]) -> Vec<SaEntry> {
    let numbered = (1..=64).zip(actions);
    let with_entry = numbered.filter(|(number, _)| !WITHOUT_ENTRY.contains(number));
    with_entry.map(|(_, action)| encode_action(action)).collect()
}

pub(super) fn decode_actions(
    place: Place,
    pid: NsPid,
    entries: &[SaEntry],
) -> Result<[SignalAction; 64]> {
    let mut actions = [SignalAction::default(); 64];
    if entries.len() != actions.len() - WITHOUT_ENTRY.len() {
        let reason = format!("has {} entries instead of 62", entries.len());
        return Err(place.field("sigactions", reason));
    }
    let numbers = (1..=64).filter(|number| !WITHOUT_ENTRY.contains(number));
    for (number, entry) in numbers.zip(entries) {
        if entry.compat_sigaction == Some(true) {
            let reason = "handlers of 32-bit programs cannot be restored";
            return Err(Error::unsupported(format!("signal {number} of process {pid}"), reason));
        }
        actions[number - 1] = decode_action(entry);
    }
    Ok(actions)
}

fn encode_action(action: &SignalAction) -> SaEntry {
    SaEntry {
        sigaction: action.handler,
        flags: action.flags,
        restorer: action.restorer,
        mask: action.mask.0,
        compat_sigaction: Some(false),
        mask_extended: None,
    }
}

fn decode_action(entry: &SaEntry) -> SignalAction {
    SignalAction {
        handler: entry.sigaction,
        flags: entry.flags,
        restorer: entry.restorer,
        mask: SignalMask(entry.mask),
    }
}

pub(super) fn encode_queue(pending: &[PendingSignal]) -> SignalQueueEntry {
    let entry = |signal: &PendingSignal| SiginfoEntry { siginfo: signal.siginfo.to_vec() };
    SignalQueueEntry { signals: pending.iter().map(entry).collect() }
}

/// Decodes a queue; an absent one is empty.
pub(super) fn decode_queue(
    place: Place,
    field: &'static str,
    queue: Option<&SignalQueueEntry>,
) -> Result<Vec<PendingSignal>> {
    let signals = queue.map_or(&[][..], |queue| &queue.signals);
    let signal = |entry: &SiginfoEntry| {
        let siginfo = entry.siginfo.as_slice().try_into().map_err(|_| {
            let reason = format!("has a siginfo of another size than {SIGINFO_SIZE} bytes");
            place.field(field, reason)
        })?;
        Ok(PendingSignal { siginfo })
    };
    signals.iter().map(signal).collect()
}
