//! A process that became an ordinary user for good.

use crate::prelude::*;

pub const GOAL: &str = "an ordinary user's process comes back as that user, without capabilities";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::syscall(libc::SYS_setgroups, &[0, 0])?;
    raw::syscall(libc::SYS_setresgid, &[65534; 3])?;
    raw::syscall(libc::SYS_setresuid, &[65534; 3])?;
    super::keep(stage, || super::status(&["Uid", "Gid", "Groups", "Cap"]))?;
    ensure!(raw::syscall(libc::SYS_setuid, &[0]).is_err(), "the process could become root");
    Ok(())
}
