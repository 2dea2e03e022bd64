//! A descriptor above the limit of open files, which was lowered afterwards.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "a descriptor above the limit of open files survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let file = fs::File::open("/dev/null")?;
    raw::syscall(libc::SYS_dup2, &[file.as_raw_fd() as usize, 900])?;
    let limit = [20_u64, 1000];
    raw::syscall(libc::SYS_prlimit64, &[0, libc::RLIMIT_NOFILE as usize, raw::at(&limit), 0])?;
    super::keep(stage, || {
        let target = fs::read_link("/proc/self/fd/900")?;
        Ok(vec![format!("{} {:?}", target.display(), super::file_limit()?)])
    })
}
