//! A thread that has left the descriptor table of its process (unshare(2)).

use std::{fs, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "a thread with a descriptor table of its own keeps it, or is refused";
pub const KIND: Kind = Kind::KeptOrRefused("thread");

pub fn run(stage: &Stage) -> Verdict {
    let stage_of_thread = stage.clone();
    let thread = std::thread::spawn(move || -> Verdict {
        raw::syscall(libc::SYS_unshare, &[libc::CLONE_FILES as usize])?;
        let file = fs::File::open("/dev/zero")?;
        raw::syscall(libc::SYS_dup2, &[file.as_raw_fd() as usize, 123])?;
        stage_of_thread.mark("thread")?;
        stage_of_thread.wait_for_go()?;
        let target = fs::read_link("/proc/thread-self/fd/123").context("the table is lost")?;
        ensure!(target.as_os_str() == "/dev/zero", "{}", target.display());
        Ok(())
    });
    stage.wait_for("thread")?;
    stage.pause()?;
    ensure!(!fs::exists("/proc/self/fd/123")?, "the main thread has the other's descriptor");
    thread.join().expect("nobody panics")
}
