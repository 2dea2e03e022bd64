//! Processes held by descriptor: pidfd_open(2), pidfd_getfd(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use stasis_sys::Errno;

use crate::error::{Error, Result};

pub(crate) fn open(pid: i32) -> Result<OwnedFd> {
    let raw = Pid::from_raw(pid).ok_or(Error::Died { pid })?;
    rustix::process::pidfd_open(raw, PidfdFlags::empty())
        .map_err(|errno| Error::at(pid, "pidfd_open")(Errno(errno.raw_os_error())))
}

/// A second descriptor, of ours, for the open file behind a descriptor of a process.
pub(crate) fn take_fd((pid, pidfd): (i32, impl AsFd), fd: i32) -> Result<OwnedFd> {
    rustix::process::pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty())
        .map_err(|errno| Error::at(pid, "pidfd_getfd")(Errno(errno.raw_os_error())))
}
