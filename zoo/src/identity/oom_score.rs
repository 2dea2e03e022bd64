//! oom_score_adj.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "the out-of-memory score adjustment survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::write("/proc/self/oom_score_adj", "345")?;
    super::keep(stage, || Ok(vec![fs::read_to_string("/proc/self/oom_score_adj")?]))
}
