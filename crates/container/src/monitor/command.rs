//! The command that has started a monitor, as the monitor sees it.

use std::os::fd::OwnedFd;

use super::protocol::Notice;
use crate::{record::Lock, wire};

/// The command that starts a run, until it knows all it needs.
pub(super) struct Command {
    pub control: OwnedFd,
    /// It died: nothing more comes from there.
    pub is_gone: bool,
    /// Its lock on the container; while this lives nobody else starts, stops or removes it, even if the
    /// command dies.
    _lock: Lock,
}

impl Command {
    pub fn new(control: OwnedFd, lock: Lock) -> Command {
        Command { control, is_gone: false, _lock: lock }
    }

    /// Nothing is left to do for a command that has died.
    pub fn tell_failed(&self, code: i32, message: String) {
        let _ = wire::send(&self.control, &Notice::Failed { code, message });
    }
}
