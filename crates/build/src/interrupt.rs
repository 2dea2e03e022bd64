//! Being interrupted: signals that ask us to end wait until the step has cleaned up.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use crate::error::{Context, Error, Result};

/// As long as it lives, these signals do not end us but make [`Interrupt::check`] fail.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: SignalFd,
    set: SigSet,
    before: SigSet,
}

impl Interrupt {
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn catch() -> Result<Interrupt> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let before = SigSet::thread_get_mask().map_err(std::io::Error::from);
        let before = before.context("read", "the signal mask")?;
        set.thread_block().map_err(std::io::Error::from).context("block", "signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).map_err(std::io::Error::from);
        Ok(Interrupt { signals: signals.context("wait for", "signals")?, set, before })
    }

    /// # Errors
    /// [`Error::Interrupted`] if a signal came.
    pub fn check(&self) -> Result<()> {
        match self.signals.read_signal() {
            Ok(None) => Ok(()),
            _ => Err(Error::Interrupted),
        }
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // What arrived meanwhile was answered; it must not end us now.
        while let Ok(Some(_)) = self.signals.read_signal() {}
        let _ = self.set.thread_unblock();
        let _ = self.before.thread_set_mask();
    }
}
