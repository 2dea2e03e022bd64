//! A bounding set without some capabilities.

use crate::prelude::*;

pub const GOAL: &str = "the capability bounding set survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    for capability in [3, 5, 22, 27] {
        raw::prctl(libc::PR_CAPBSET_DROP, &[capability])?;
    }
    super::keep(stage, || super::status(&["Cap"]))
}
