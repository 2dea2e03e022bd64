//! Waiting for processes (waitpid(2), pidfd_open(2)), and what their ends mean.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::WaitStatus,
};

use crate::error::{Context, Result};

/// `__WALL` (waitpid(2)): before it executes anything, init has no signal that tells of its end.
pub(crate) const WAIT_FOR_ALL_KINDS: u32 = 0x4000_0000;

/// Waits until a descriptor is readable; false if `timeout` came first.
pub(crate) fn wait_readable(fd: &OwnedFd, timeout: Option<Duration>) -> Result<bool> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))
        .context("wait for", "a process")?;
    Ok(ready > 0)
}

/// What a shell makes of a wait status.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
