//! How a thread gets its time: sched_setattr(2) (policy, priority), nice value, processors, priority of
//! its disk access, timer slack. All but the last is asked and set from outside.

use rustix::{process::Pid, thread::CpuSet};
use stasis_model::{Scheduling, Subject};
use stasis_sys::sched::{self, Attributes};
use stasis_tracee::Batch;

use crate::{
    error::{Error, Result},
    gathering::Gathering,
    thawing::Thawing,
};

const SCHED_OTHER: u32 = 0;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;

/// All but the timer slack, which only the thread itself can tell.
pub fn freeze(tid: i32, gathering: &mut Gathering) -> Result<Scheduling> {
    let what = || format!("thread {tid}");
    let attributes = sched::attributes(tid).map_err(Error::at(what(), "sched_getattr"))?;
    let pid = Pid::from_raw(tid);
    // sched_getattr(2) tells no nice value of a real-time thread, which has one all the same.
    let nice = match attributes.policy {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => attributes.nice,
        _ => rustix::process::getpriority_process(pid).map_err(Error::at(what(), "getpriority"))?,
    };
    let bound =
        rustix::thread::sched_getaffinity(pid).map_err(Error::at(what(), "sched_getaffinity"))?;
    let io_priority = sched::io_priority(tid).map_err(Error::at(what(), "ioprio_get"))?;
    let processors = bound_to(&bound, gathering);
    Ok(Scheduling {
        nice,
        policy: attributes.policy,
        priority: attributes.priority,
        io_priority: (io_priority != 0).then_some(io_priority),
        processors,
        timer_slack_ns: None,
    })
}

/// The processors that a thread is bound to, if it may not use all. Most have what the one before them has.
fn bound_to(bound: &CpuSet, gathering: &mut Gathering) -> Option<Vec<u64>> {
    if let Some((known, bound_to)) = &gathering.processors
        && known == bound
    {
        return bound_to.clone();
    }
    let bound_mask = mask(bound);
    let bound_to = (!covers(&bound_mask, &online())).then_some(bound_mask);
    gathering.processors = Some((*bound, bound_to.clone()));
    bound_to
}

/// Sets it from outside, if it is not what a new thread has anyway.
pub fn thaw(tid: i32, scheduling: &Scheduling, thawing: &mut Thawing) -> Result<()> {
    let what = || format!("thread {tid}");
    let pid = Pid::from_raw(tid);
    let wanted = Attributes {
        policy: scheduling.policy,
        nice: scheduling.nice,
        priority: scheduling.priority,
    };
    let has = sched::attributes(tid).map_err(Error::at(what(), "sched_getattr"))?;
    if has != wanted {
        sched::set_attributes(tid, wanted).map_err(Error::at(what(), "sched_setattr"))?;
        // Policies other than the two usual ones take no nice value there.
        rustix::process::setpriority_process(pid, scheduling.nice)
            .map_err(Error::at(what(), "setpriority"))?;
    }
    if let Some(priority) = scheduling.io_priority {
        sched::set_io_priority(tid, priority).map_err(Error::at(what(), "ioprio_set"))?;
    }
    if let Some(processors) = &scheduling.processors
        && rustix::thread::sched_setaffinity(pid, &set(processors)).is_err()
    {
        let subject = Subject::Task { pid: tid, name: String::new() };
        thawing.loss(subject, "the processors that it was bound to are not there");
    }
    Ok(())
}

/// Adds what a thread sets for itself.
pub fn thaw_own(scheduling: &Scheduling, batch: &mut Batch) {
    const PRCTL: i64 = 157;
    const PR_SET_TIMERSLACK: i32 = 29;
    // Real-time threads have none, which comes with their policy.
    if let Some(slack) = scheduling.timer_slack_ns.filter(|slack| *slack != 0) {
        batch.call("prctl(PR_SET_TIMERSLACK)", PRCTL, [PR_SET_TIMERSLACK.into(), slack.into()]);
    }
}

/// Whether these are all processors that there are: then nothing is bound.
pub fn is_everywhere(processors: &CpuSet) -> bool {
    covers(&mask(processors), &online())
}

/// How many processors there are.
pub fn nr_online() -> u32 {
    online().iter().map(|word| word.count_ones()).sum()
}

fn mask(set: &CpuSet) -> Vec<u64> {
    let mut words = vec![0u64; CpuSet::MAX_CPU / 64];
    for number in (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number)) {
        words[number / 64] |= 1 << (number % 64);
    }
    while words.last() == Some(&0) {
        words.pop();
    }
    words
}

fn set(mask: &[u64]) -> CpuSet {
    let mut set = CpuSet::new();
    for number in 0..CpuSet::MAX_CPU.min(mask.len() * 64) {
        if mask[number / 64] & 1 << (number % 64) != 0 {
            set.set(number);
        }
    }
    set
}

/// Whether a thread may use all of these processors: then it is not bound.
fn covers(mask: &[u64], all: &[u64]) -> bool {
    all.iter().enumerate().all(|(at, word)| mask.get(at).copied().unwrap_or(0) & word == *word)
}

fn online() -> Vec<u64> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    parse_list(&text)
}

/// A list such as `0-3,8`.
fn parse_list(text: &str) -> Vec<u64> {
    let mut words = vec![0u64; CpuSet::MAX_CPU / 64];
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            continue;
        };
        for number in first..=last.min(CpuSet::MAX_CPU - 1) {
            words[number / 64] |= 1 << (number % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        let all = parse_list("0-3,64\n");
        assert_eq!(all[..2], [0b1111, 1]);
        assert!(covers(&[0b1_1111, 1], &all));
        assert!(!covers(&[0b1111], &all));
        assert_eq!(mask(&set(&[0b101, 2])), [0b101, 2]);
    }
}
