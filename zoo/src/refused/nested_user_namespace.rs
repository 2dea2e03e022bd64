//! A child in a user namespace of its own.

use crate::prelude::*;

pub const GOAL: &str = "a nested user namespace is refused by name";
pub const KIND: Kind = Kind::Refused("namespace");

pub fn run(stage: &Stage) -> Verdict {
    super::in_namespace(stage, libc::CLONE_NEWUSER, "user")
}
