//! A child in a pid namespace of its own below the tree's.

use crate::prelude::*;

pub const GOAL: &str = "a nested pid namespace is refused by name";
pub const KIND: Kind = Kind::Refused("namespace");

pub fn run(stage: &Stage) -> Verdict {
    super::in_namespace(stage, libc::CLONE_NEWPID, "pid")
}
