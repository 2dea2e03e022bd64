//! Permitted, effective and inheritable sets of a process that dropped some.

use crate::prelude::*;

pub const GOAL: &str = "capability sets that were reduced stay reduced";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::set_capabilities(0x25ff, 0xffff, 0x0421)?;
    super::keep(stage, || super::status(&["Cap"]))
}
