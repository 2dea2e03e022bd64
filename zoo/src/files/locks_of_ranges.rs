//! Locks on parts of a file, of two processes: each still has its own and not the other's; they
//! outlive a duplicated descriptor and go with the process.

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "locks on ranges survive in each process, for reading and for writing";
pub const KIND: Kind = Kind::Survives;

fn lock(file: &fs::File, kind: i32, start: i64, len: i64) -> std::io::Result<usize> {
    let lock =
        libc::flock { l_type: kind as i16, l_whence: 0, l_start: start, l_len: len, l_pid: 0 };
    let arguments = [file.as_raw_fd() as usize, libc::F_SETLK as usize, raw::at(&lock)];
    raw::syscall(libc::SYS_fcntl, &arguments)
}

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "0123456789")?;
    let open = || fs::File::options().read(true).write(true).open(stage.path("file"));
    let file = open()?;
    let _duplicate = file.try_clone()?;
    lock(&file, libc::F_WRLCK, 0, 2)?;
    lock(&file, libc::F_RDLCK, 4, 2)?;
    let child = raw::fork(stage, |stage| {
        let file = open()?;
        lock(&file, libc::F_RDLCK, 4, 2)?;
        lock(&file, libc::F_WRLCK, 8, 0)?;
        stage.mark("child")?;
        stage.wait_for_go()?;
        ensure!(lock(&file, libc::F_RDLCK, 1, 1).is_err(), "the parent's write lock is gone");
        ensure!(lock(&file, libc::F_WRLCK, 4, 1).is_err(), "the parent's read lock is gone");
        lock(&file, libc::F_WRLCK, 2, 2).context("more is locked than was")?;
        stage.mark("checked")?;
        stage.wait_for("parent")
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    stage.wait_for("checked")?;
    ensure!(lock(&file, libc::F_RDLCK, 100, 1).is_err(), "the child's write lock is gone");
    ensure!(lock(&file, libc::F_WRLCK, 5, 1).is_err(), "the child's read lock is gone");
    stage.mark("parent")?;
    child.join(stage)?;
    lock(&file, libc::F_WRLCK, 0, 0).context("locks of a dead process hold on")?;
    Ok(())
}
