//! Real-time policies with priorities, where the machine allows them, and reset on fork.

use crate::prelude::*;

pub const GOAL: &str = "real-time policy and priority survive, thread by thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |number| {
        let policy = [libc::SCHED_FIFO, libc::SCHED_RR][number % 2];
        let policy = policy | if number > 2 { libc::SCHED_RESET_ON_FORK } else { 0 };
        // Some machines allow no real-time policy at all; then there is nothing to keep.
        let _ = super::set_policy(policy, 1 + number as i32);
        Ok(())
    }, super::scheduling)
}
