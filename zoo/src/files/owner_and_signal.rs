//! Owner and signal of asynchronous I/O (F_SETOWN, F_SETSIG): of a process, a group, a thread.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "owner and signal of asynchronous I/O survive and act";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signal = libc::SIGRTMIN() + 4;
    raw::catch(signal)?;
    // A session leader has a group of its own already.
    let _ = rustix::process::setpgid(None, None);
    let pairs = [
        std::os::unix::net::UnixStream::pair()?,
        std::os::unix::net::UnixStream::pair()?,
        std::os::unix::net::UnixStream::pair()?,
    ];
    let fd = |n: usize| pairs[n].0.as_raw_fd() as usize;
    let fcntl = |n, command: i32, value: usize| {
        raw::syscall(libc::SYS_fcntl, &[fd(n), command as usize, value])
    };
    const F_SETOWN_EX: i32 = 15;
    const F_GETOWN_EX: i32 = 16;
    for n in 0..3 {
        // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP: all three have our pid.
        let owner = [n as i32, raw::getpid()];
        fcntl(n, F_SETOWN_EX, raw::at(&owner))?;
        fcntl(n, libc::F_SETFL, (libc::O_RDWR | libc::O_ASYNC | libc::O_NONBLOCK) as usize)?;
    }
    const F_SETSIG: i32 = 10;
    const F_GETSIG: i32 = 11;
    fcntl(0, F_SETSIG, signal as usize)?;
    fcntl(1, F_SETSIG, signal as usize)?;
    super::keep(stage, || {
        let look = |n| {
            let mut owner = [0_i32; 2];
            fcntl(n, F_GETOWN_EX, raw::into(&mut owner))?;
            let (signal, flags) = (fcntl(n, F_GETSIG, 0)?, fcntl(n, libc::F_GETFL, 0)?);
            Ok(format!("owner {owner:?}, signal {signal}, flags {flags:o}"))
        };
        (0..3).map(look).collect()
    })?;
    std::io::Write::write_all(&mut &pairs[0].1, b"x")?;
    stage.wait_until("signal", || Ok(raw::caught().len() == 1))
}
