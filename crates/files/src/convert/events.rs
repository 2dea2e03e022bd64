//! eventfd(2), timerfd_create(2), signalfd(2).

use stasis_model::{Eventfd, FileId, IntervalTimer, SignalMask, Signalfd, Timerfd};

use super::timers::time;
use crate::{
    Result,
    error::Place,
    wire::{
        event::{EventfdFileEntry, SignalfdEntry, TimerfdEntry},
        fown::FownEntry,
    },
};

pub(super) fn encode_eventfd(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    eventfd: &Eventfd,
) -> EventfdFileEntry {
    EventfdFileEntry {
        id: id.0,
        flags,
        fown,
        counter: eventfd.count,
        semaphore: eventfd.semaphore.then_some(true),
    }
}

pub(super) fn decode_eventfd(entry: &EventfdFileEntry) -> Eventfd {
    Eventfd { count: entry.counter, semaphore: entry.semaphore == Some(true) }
}

pub(super) fn encode_timerfd(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    timerfd: &Timerfd,
) -> TimerfdEntry {
    let IntervalTimer { interval, remaining } = timerfd.setting;
    TimerfdEntry {
        id: id.0,
        flags,
        fown,
        clockid: timerfd.clock.cast_unsigned(),
        ticks: timerfd.ticks,
        settime_flags: timerfd.settime_flags,
        vsec: remaining.seconds,
        vnsec: remaining.nanoseconds.into(),
        isec: interval.seconds,
        insec: interval.nanoseconds.into(),
    }
}

pub(super) fn decode_timerfd(place: Place, entry: &TimerfdEntry) -> Result<Timerfd> {
    Ok(Timerfd {
        clock: entry.clockid.cast_signed(),
        ticks: entry.ticks,
        settime_flags: entry.settime_flags,
        setting: IntervalTimer {
            interval: time(place, "insec", entry.isec, entry.insec)?,
            remaining: time(place, "vnsec", entry.vsec, entry.vnsec)?,
        },
    })
}

pub(super) fn encode_signalfd(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    signalfd: &Signalfd,
) -> SignalfdEntry {
    SignalfdEntry { id: id.0, flags, fown, sigmask: signalfd.mask.0 }
}

pub(super) fn decode_signalfd(entry: &SignalfdEntry) -> Signalfd {
    Signalfd { mask: SignalMask(entry.sigmask) }
}
