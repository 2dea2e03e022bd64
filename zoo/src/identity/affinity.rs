//! Threads that may run on certain processors only.

use crate::prelude::*;

pub const GOAL: &str = "CPU affinity survives, thread by thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let count = std::thread::available_parallelism()?.get();
    super::in_threads(stage, move |number| {
        let set = 1_u64 << (number % count);
        raw::syscall(libc::SYS_sched_setaffinity, &[0, 8, raw::at(&set)])?;
        Ok(())
    }, || super::status(&["Cpus_allowed"]))
}
