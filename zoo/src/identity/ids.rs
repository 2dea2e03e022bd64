//! Different real, effective, saved and file-system user and group ids, and supplementary groups.

use crate::prelude::*;

pub const GOAL: &str = "all user and group ids and the supplementary groups survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let groups: [u32; 4] = [100, 7, 60_000, 5];
    raw::syscall(libc::SYS_setgroups, &[groups.len(), raw::at(&groups)])?;
    raw::syscall(libc::SYS_setresgid, &[10, 20, 30])?;
    raw::syscall(libc::SYS_setresuid, &[0, 1000, 2000])?;
    raw::syscall(libc::SYS_setfsgid, &[40])?;
    super::keep(stage, || super::status(&["Uid", "Gid", "Groups", "CapEff", "CapPrm"]))
}
