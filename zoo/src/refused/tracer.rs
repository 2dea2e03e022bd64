//! A process of the tree that traces another one (ptrace(2)).

use crate::prelude::*;

pub const GOAL: &str = "a tree in which one traces another is refused by name";
pub const KIND: Kind = Kind::Refused("trace");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| stage.wait_for_go().map(drop))?;
    const PTRACE_SEIZE: usize = 0x4206;
    raw::syscall(libc::SYS_ptrace, &[PTRACE_SEIZE, child.pid as usize, 0, 0])?;
    stage.pause()?;
    child.join(stage)
}
