//! Threads of one process with different capabilities.

use crate::prelude::*;

pub const GOAL: &str = "threads keep capabilities that differ";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |number| super::set_capabilities(1 << number, 0xff, 0xf), || {
        super::status(&["Cap"])
    })
}
