//! A read lease: opening the file for writing sends the holder a signal.

use std::{fs, os::{fd::AsRawFd, unix::fs::OpenOptionsExt}};

use crate::prelude::*;

pub const GOAL: &str = "file leases survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("lease");

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), "x")?;
    let file = fs::File::open(stage.path("file"))?;
    let fcntl = |command, value| {
        raw::syscall(libc::SYS_fcntl, &[file.as_raw_fd() as usize, command, value])
    };
    const F_SETLEASE: usize = 1024;
    const F_GETLEASE: usize = 1025;
    raw::catch(libc::SIGIO)?;
    fcntl(F_SETLEASE, libc::F_RDLCK as usize)?;
    stage.pause()?;
    ensure!(fcntl(F_GETLEASE, 0)? == libc::F_RDLCK as usize, "the lease is gone");
    let open = fs::File::options().write(true).custom_flags(libc::O_NONBLOCK)
        .open(stage.path("file"));
    ensure!(open.is_err_and(|e| e.raw_os_error() == Some(libc::EWOULDBLOCK)), "no lease held it up");
    stage.wait_until("SIGIO", || Ok(raw::caught().len() == 1))
}
