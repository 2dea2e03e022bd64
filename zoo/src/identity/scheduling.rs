//! Threads with each of the ordinary scheduling policies and different nice values.

use crate::prelude::*;

pub const GOAL: &str = "nice values and SCHED_BATCH and SCHED_IDLE survive, thread by thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |number| {
        let policy = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE][number % 3];
        super::set_policy(policy, 0)?;
        let nice = number * 3;
        raw::syscall(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, 0, nice])?;
        Ok(())
    }, super::scheduling)
}
