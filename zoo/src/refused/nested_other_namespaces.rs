//! A child in UTS, IPC and cgroup namespaces of its own.

use crate::prelude::*;

pub const GOAL: &str = "nested UTS, IPC and cgroup namespaces are refused by name";
pub const KIND: Kind = Kind::Refused("namespace");

pub fn run(stage: &Stage) -> Verdict {
    let flags = libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    super::in_namespace(stage, flags, "uts")
}
