//! The processors that a patient may use, while it is kept on ours.
//!
//! A task that stands on another processor must wake that one for each batch, and wake us when it is
//! through: several times the cost of the batch itself, most of all on a virtual machine whose idle
//! processors sleep.

use rustix::{process::Pid, thread::CpuSet};

/// Bytes of a set as the stub and the way back hand it to sched_setaffinity(2).
pub(crate) const SET_LEN: usize = CpuSet::MAX_CPU / 8;

/// What a task may use by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affinity {
    /// What to ask for to give back what sched_getaffinity(2) tells. A task that is bound by its control group
    /// alone is bound to nothing by itself, and must not be from now on.
    wish: CpuSet,
}

impl Affinity {
    /// Finds out how a stopped task can be given back what it has.
    pub fn of(tid: i32) -> Option<Self> {
        let pid = Pid::from_raw(tid);
        let own = rustix::thread::sched_getaffinity(pid).ok()?;
        let all = every_processor();
        rustix::thread::sched_setaffinity(pid, &all).ok()?;
        let bound_by_others = rustix::thread::sched_getaffinity(pid).is_ok_and(|now| now == own);
        let affinity = Affinity { wish: if bound_by_others { all } else { own } };
        affinity.give_back(tid);
        Some(affinity)
    }

    /// Lets a task run on this one only; tells whether the kernel agrees.
    pub fn hold(tid: i32, processor: usize) -> bool {
        let mut held = CpuSet::new();
        held.set(processor);
        rustix::thread::sched_setaffinity(Pid::from_raw(tid), &held).is_ok()
    }

    pub fn give_back(&self, tid: i32) {
        // A task that has ended needs nothing.
        let _ = rustix::thread::sched_setaffinity(Pid::from_raw(tid), &self.wish);
    }

    /// What the task itself hands to sched_setaffinity(2) if we are not there to give it back.
    pub fn bytes(&self) -> [u8; SET_LEN] {
        let mut bytes = [0; SET_LEN];
        for number in (0..CpuSet::MAX_CPU).filter(|number| self.wish.is_set(*number)) {
            bytes[number / 8] |= 1 << (number % 8);
        }
        bytes
    }
}

/// All processors that there can be: whoever may use these is bound to nothing.
pub fn every_processor() -> CpuSet {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|number| all.set(number));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread_id() -> i32 {
        rustix::thread::gettid().as_raw_nonzero().get()
    }

    #[test]
    fn what_was_held_is_given_back() {
        // In a thread of its own, which is bound to one processor and then goes.
        let bound = std::thread::spawn(|| {
            let before = rustix::thread::sched_getaffinity(None).unwrap();
            let first = (0..CpuSet::MAX_CPU).find(|number| before.is_set(*number)).unwrap();
            let affinity = Affinity::of(thread_id()).unwrap();
            assert_eq!(rustix::thread::sched_getaffinity(None).unwrap(), before);
            assert!(Affinity::hold(thread_id(), first));
            assert_eq!(rustix::thread::sched_getaffinity(None).unwrap().count(), 1);
            affinity.give_back(thread_id());
            assert_eq!(rustix::thread::sched_getaffinity(None).unwrap(), before);
            // Who has bound itself is bound again.
            assert!(Affinity::hold(thread_id(), first));
            let affinity = Affinity::of(thread_id()).unwrap();
            let bytes = affinity.bytes();
            assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1 + extra(&before));
            assert_eq!(rustix::thread::sched_getaffinity(None).unwrap().count(), 1);
        });
        bound.join().unwrap();
    }

    /// On a machine of one processor nobody can bind himself to less.
    fn extra(before: &CpuSet) -> u32 {
        if before.count() == 1 { CpuSet::MAX_CPU as u32 - 1 } else { 0 }
    }
}
