//! A signal descriptor with a mask, and signals that wait to be read from it.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "a signal descriptor keeps its mask, and waiting signals their data";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let real_time = libc::SIGRTMIN() + 7;
    raw::block(&[libc::SIGUSR1, real_time])?;
    let mask = raw::bit(libc::SIGUSR1) | raw::bit(real_time);
    let flags = libc::SFD_NONBLOCK as usize;
    let fd = raw::syscall(libc::SYS_signalfd4, &[usize::MAX, raw::at(&mask), 8, flags])?;
    raw::queue(raw::getpid(), &raw::QueuedInfo::new(real_time, libc::SI_QUEUE, 4711))?;
    crate::files::keep(stage, || {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
        let line = |line: &&str| line.starts_with("sigmask") || line.starts_with("flags");
        Ok(info.lines().filter(line).map(str::to_owned).collect())
    })?;
    let read = || -> anyhow::Result<(i32, u64)> {
        let mut info = [0_u64; 16];
        raw::syscall(libc::SYS_read, &[fd, raw::into(&mut info), 128])?;
        // ssi_signo is the first word, ssi_ptr lies at byte 48 (signalfd(2)).
        Ok((info[0] as u32 as i32, info[6]))
    };
    let first = read().context("nothing to read")?;
    ensure!(first == (real_time, 4711), "{first:?}");
    raw::kill(std::process::id().cast_signed(), libc::SIGUSR1)?;
    ensure!(read()?.0 == libc::SIGUSR1, "another signal");
    let null = std::fs::File::open("/dev/null")?;
    ensure!(null.as_raw_fd() as usize != fd, "the descriptor is closed");
    Ok(())
}
