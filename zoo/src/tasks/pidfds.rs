//! A pidfd of a living child can signal it; one of a zombie and one of the process itself remain.

use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::prelude::*;

pub const GOAL: &str = "pidfds still refer to their processes";
pub const KIND: Kind = Kind::KeptOrRefused("pidfd");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| stage.wait_for("never"))?;
    let open = |pid| -> anyhow::Result<_> {
        let pid = Pid::from_raw(pid).context("pid 0")?;
        Ok(pidfd_open(pid, PidfdFlags::empty())?)
    };
    let (child_fd, own_fd) = (open(child.pid)?, open(raw::getpid())?);
    let flags = rustix::io::fcntl_getfd(child_fd.as_fd())?;
    stage.pause()?;
    ensure!(rustix::io::fcntl_getfd(child_fd.as_fd())? == flags, "descriptor flags changed");
    raw::catch(libc::SIGUSR1)?;
    pidfd_send_signal(&own_fd, Signal::USR1).context("signal through the own pidfd")?;
    ensure!(raw::caught().len() == 1, "the own pidfd reached somebody else");
    pidfd_send_signal(&child_fd, Signal::TERM).context("signal through the child's pidfd")?;
    let status = child.wait()?;
    ensure!(status == raw::Status::Killed(libc::SIGTERM), "{status:?}");
    Ok(())
}
