//! Disk priority of threads (ioprio_set(2)).

use crate::prelude::*;

pub const GOAL: &str = "disk priorities survive, or are told as a loss";
pub const KIND: Kind = Kind::KeptOrRefused("priority");

pub fn run(stage: &Stage) -> Verdict {
    let best_effort = 2 << 13;
    super::in_threads(stage, move |number| {
        raw::syscall(libc::SYS_ioprio_set, &[1, 0, best_effort | number])?;
        Ok(())
    }, || Ok(vec![raw::syscall(libc::SYS_ioprio_get, &[1, 0])?.to_string()]))
}
