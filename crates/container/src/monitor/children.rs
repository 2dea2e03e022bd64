//! Hearing of the ends of children.
//!
//! A monitor is the parent of init, and becomes that of sessions whose starter has died. Their ends must
//! be taken note of at once: an init that ends waits until nobody is left in its pid namespace
//! (pid_namespaces(7)), also for dead ones whose parent is outside of it.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use crate::error::{Context, Result};

/// Readable when a child has ended since the last [`Children::heard`].
pub(super) struct Children(SignalFd);

impl Children {
    /// From now on `SIGCHLD` is heard here alone. What we start begins with no signal blocked
    /// (`std::process::Command`).
    pub fn listen() -> Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let refused = |errno: nix::Error| std::io::Error::from(errno);
        mask.thread_block().map_err(refused).context("block", "SIGCHLD")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(&mask, flags).map_err(refused).context("make", "signalfd")?;
        Ok(Children(fd))
    }

    /// Takes note of what was told; the children themselves are still to be waited for.
    pub fn heard(&self) {
        while let Ok(Some(_)) = self.0.read_signal() {}
    }
}

impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
