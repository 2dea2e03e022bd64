//! The address that is cleared and woken when a thread ends: joining a thread works by it.

use crate::prelude::*;

pub const GOAL: &str = "the child-tid address of every thread survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |_| Ok(()), || {
        let mut address = 0_usize;
        raw::prctl(libc::PR_GET_TID_ADDRESS, &[raw::into(&mut address)])?;
        Ok(vec![format!("{address:x}")])
    })
}
