//! From init that waits to a program that runs: what the command orders, what the launcher and the status
//! pipe tell, and what is written down then.

use std::io::Read;

use jiff::Timestamp;
use rustix::process::{Signal, pidfd_send_signal};

use super::{Phase, Run};
use crate::{
    error::Result,
    health::Health,
    launcher::{Go, Reply, StartFailure},
    monitor::protocol::{Mode, Notice, Order},
    process::ProcessId,
    state::Status,
    wire,
};

impl Run {
    pub(super) fn obey(&mut self) {
        let Some(command) = &mut self.command else { return };
        match wire::receive::<Order>(&command.control) {
            Ok(Some(Order::Release)) => {
                if let Err(error) = self.release() {
                    self.fail(125, &error.to_string());
                }
            }
            Ok(Some(Order::Unlock)) if self.phase == Phase::Restoring => {
                self.network.lock = None;
                if let Err(error) = wire::send(&command.control, &Notice::Unlocked) {
                    self.fail(125, &error.to_string());
                }
            }
            Ok(Some(Order::Commit)) if self.phase == Phase::Restoring => self.set_running(),
            Ok(Some(order)) => self.fail(125, &format!("unexpected order {order:?}")),
            // The command died before the container was its own master.
            Ok(None) | Err(_) => {
                command.is_gone = true;
                self.fail(125, "the command that started it died");
            }
        }
    }

    pub(super) fn release(&mut self) -> Result<()> {
        self.is_released = true;
        match &self.launcher {
            Some(launcher) => wire::send(launcher, &Go),
            None => Ok(()),
        }
    }

    pub(super) fn hear_launcher(&mut self) {
        let Some(launcher) = self.launcher.take() else { return };
        match wire::receive::<Reply>(&launcher) {
            Ok(Some(Reply::Released)) => {}
            Ok(Some(Reply::Failed { message })) => self.fail(125, &message),
            _ => self.fail(125, "the launcher died"),
        }
        self.reap();
    }

    pub(super) fn read_status(&mut self) {
        let Some(status) = &mut self.status else { return };
        let mut buffer = [0; 4096];
        match status.read(&mut buffer) {
            Ok(count) if count > 0 => self.status_text.extend_from_slice(&buffer[..count]),
            _ => {
                self.status = None;
                self.program_was_executed();
            }
        }
    }

    /// The status pipe has come to its end: with a message, or since execve(2) closed it.
    fn program_was_executed(&mut self) {
        match StartFailure::decode(&self.status_text) {
            Some(failure) => self.failure = Some(failure),
            None if !self.is_released || self.phase != Phase::Starting => {}
            None if self.mode == Mode::Program => self.set_running(),
            None => self.phase = Phase::Restoring,
        }
    }

    fn set_running(&mut self) {
        self.phase = Phase::Running;
        self.network.lock = None;
        let init = ProcessId::probe(self.init.as_raw_nonzero().get());
        let written = self.container.update(|state| {
            state.status = Status::Running;
            state.init = init;
            state.started = Some(Timestamp::now());
            state.error.clear();
            state.stdio.clone_from(&self.stdio);
            state.came_from = match &self.mode {
                Mode::Program => None,
                Mode::Restore { checkpoint, .. } => Some(checkpoint.clone()),
            };
            state.saved = None;
            state.frozen = None;
            state.stays_for = None;
            state.restored = match &self.mode {
                Mode::Program => None,
                Mode::Restore { .. } => Some(Timestamp::now()),
            };
            state.health = self.container.is_checked().then(Health::starting);
            state.stop_requested
        });
        self.watch_health();
        // What it took to come so far is not needed again, as a rule, for as long as the program runs.
        stasis_sys::heap::trim();
        if let Ok(true) = written {
            // The user asked for it while a restart policy was at work.
            let _ = pidfd_send_signal(&self.init_fd, Signal::KILL);
        }
        match (written, self.command.take()) {
            (Ok(_), Some(command)) => drop(wire::send(command.control, &Notice::Started)),
            (Ok(_), None) => {}
            (Err(error), command) => {
                self.command = command;
                self.fail(125, &error.to_string());
            }
        }
    }

    /// The watch ends by itself when init has ended. A program runs on also if nobody can watch it.
    fn watch_health(&self) {
        if !self.container.is_checked() {
            return;
        }
        let home = &self.container.home;
        let started = std::process::Command::new("/proc/self/exe")
            .arg("--root")
            .arg(home.root())
            .arg("--runroot")
            .arg(home.runroot())
            .arg("internal-health")
            .arg(&self.container.config.id)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn();
        if let Err(error) = started {
            tracing::error!("cannot watch the health of the container: {error}");
        }
    }
}
