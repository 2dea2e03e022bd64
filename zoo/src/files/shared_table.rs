//! Two processes with one descriptor table (CLONE_FILES): what one opens the other has.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "processes that share one descriptor table go on sharing it";
pub const KIND: Kind = Kind::KeptOrRefused("CLONE_FILES");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::clone(stage, libc::CLONE_FILES, |stage| {
        stage.mark("child")?;
        stage.wait_for_go()?;
        let file = fs::File::open("/dev/zero")?;
        raw::syscall(libc::SYS_dup2, &[file.as_raw_fd() as usize, 123])?;
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    child.join(stage)?;
    let target = fs::read_link("/proc/self/fd/123").context("the tables are apart")?;
    ensure!(target.as_os_str() == "/dev/zero", "{}", target.display());
    Ok(())
}
