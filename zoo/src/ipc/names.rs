//! Host and domain name of a UTS namespace of the program's own.

use crate::prelude::*;

pub const GOAL: &str = "a tree with a UTS namespace of its own gets it again, with its names";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::syscall(libc::SYS_unshare, &[libc::CLONE_NEWUTS as usize])?;
    raw::syscall(libc::SYS_sethostname, &[raw::at("nautilus"), 8])?;
    raw::syscall(libc::SYS_setdomainname, &[raw::at("deep"), 4])?;
    stage.pause()?;
    let names = [super::sysctl("kernel/hostname")?, super::sysctl("kernel/domainname")?];
    ensure!(names == ["nautilus", "deep"], "{names:?}");
    Ok(())
}
