//! Attributes set by prctl(2): dumpable, subreaper, timer slack, transparent huge pages off, time
//! stamp counter, machine-check policy.

use crate::prelude::*;

pub const GOAL: &str = "dumpable, subreaper, timer slack and other attributes survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_DUMPABLE, &[0])?;
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    raw::prctl(libc::PR_SET_TIMERSLACK, &[123_456])?;
    raw::prctl(libc::PR_SET_THP_DISABLE, &[1, 0, 0, 0])?;
    super::keep(stage, || {
        let mut all = super::prctls(&[
            libc::PR_GET_DUMPABLE,
            libc::PR_GET_TIMERSLACK,
            libc::PR_GET_THP_DISABLE,
        ])?;
        let mut reaper = 0_i32;
        raw::prctl(libc::PR_GET_CHILD_SUBREAPER, &[raw::into(&mut reaper)])?;
        all.push(format!("subreaper {reaper}"));
        Ok(all)
    })
}
