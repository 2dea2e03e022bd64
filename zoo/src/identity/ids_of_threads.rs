//! Threads of one process with different user and group ids.

use crate::prelude::*;

pub const GOAL: &str = "threads keep user and group ids that differ";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |number| {
        let id = 1000 + number;
        // The bare system calls change one thread only.
        raw::syscall(libc::SYS_setgroups, &[1, raw::at(&(id as u32))])?;
        raw::syscall(libc::SYS_setresgid, &[id, id + 1, id + 2])?;
        raw::syscall(libc::SYS_setresuid, &[0, id + 1, id + 2])?;
        Ok(())
    }, || super::status(&["Uid", "Gid", "Groups"]))
}
