//! Close-on-exec and descriptor numbers, with gaps and very high ones.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "descriptor numbers and close-on-exec survive, high numbers too";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "0123456789")?;
    let file = fs::File::open(stage.path("file"))?;
    let fd = file.as_raw_fd() as usize;
    let (soft, _) = super::file_limit()?;
    let highest = soft.min(1 << 20) as usize - 1;
    for (number, flags) in [(50, 0), (77, libc::O_CLOEXEC), (300, 0), (highest, 0)] {
        raw::syscall(libc::SYS_dup3, &[fd, number, flags as usize])?;
    }
    let look = || -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc/self/fd")? {
            let number: usize = entry?.file_name().to_string_lossy().parse()?;
            let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
            if !target.ends_with("fd") {
                let flags = raw::syscall(libc::SYS_fcntl, &[number, libc::F_GETFD as usize])?;
                all.push(format!("{number:06} {flags} {}", target.display()));
            }
        }
        all.sort();
        Ok(all)
    };
    super::keep(stage, look)
}
