//! An open-file-description lock shared with a child.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "open-file-description locks survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("lock");

const F_OFD_SETLK: usize = 37;

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "0123456789")?;
    let open = || fs::File::options().read(true).write(true).open(stage.path("file"));
    let lock = |file: &fs::File, kind: i32| {
        let lock = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 2, l_len: 5, l_pid: 0 };
        raw::syscall(libc::SYS_fcntl, &[file.as_raw_fd() as usize, F_OFD_SETLK, raw::at(&lock)])
    };
    let file = open()?;
    lock(&file, libc::F_WRLCK)?;
    ensure!(lock(&open()?, libc::F_RDLCK).is_err(), "the lock does not lock");
    stage.pause()?;
    ensure!(lock(&open()?, libc::F_RDLCK).is_err(), "the lock is gone");
    lock(&file, libc::F_UNLCK)?;
    lock(&open()?, libc::F_RDLCK).context("the lock does not go away")?;
    Ok(())
}
