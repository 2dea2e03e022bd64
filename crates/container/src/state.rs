//! What a container is doing: `state.json`, and the truth behind it.
//!
//! The record says what the monitor saw last. A machine that lost power or a monitor that was killed
//! writes nothing more; therefore every reader asks the kernel whether the recorded process still
//! runs.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_network::Endpoint;

use crate::{checkpoint::Origin, health::Health, process::ProcessId};

/// Exit code of a container whose end nobody saw.
pub const UNKNOWN_EXIT_CODE: i32 = 255;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    pub init: Option<ProcessId>,
    pub monitor: Option<ProcessId>,
    pub exit_code: i32,
    /// Why the program could not be started.
    pub error: String,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// How often the restart policy has started the program again.
    pub restarts: u32,
    /// The user stopped it: no restart policy may start it again.
    pub stop_requested: bool,
    /// What `/proc/PID/fd/{0,1,2}` of init lead to, as far as the host holds the other end.
    pub stdio: Vec<String>,
    /// The checkpoint that this run was started from or that was taken of it last.
    #[serde(default)]
    pub came_from: Option<Origin>,
    /// Set while `system save` freezes it, and until it runs again.
    #[serde(default)]
    pub saved: Option<Saved>,
    /// The checkpoint in which it lies frozen; none if it has run since.
    #[serde(default)]
    pub frozen: Option<Frozen>,
    /// When this run was brought back from a checkpoint, or the last one.
    #[serde(default)]
    pub restored: Option<Timestamp>,
    /// Who is about to start it again: until then it is not removed, though it was run with `--rm`.
    #[serde(default)]
    pub stays_for: Option<ProcessId>,
    /// Its places in networks; of the last run if it does not run.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Of this run, or of the last one; none without a health check.
    #[serde(default)]
    pub health: Option<Health>,
}

/// That a container was stopped by a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    pub checkpoint: Origin,
    pub at: Timestamp,
    /// Where the files of the checkpoint lie.
    pub dir: PathBuf,
}

/// What is known of the last `system save`, until the container runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// None if it had to be stopped instead.
    pub checkpoint: Option<String>,
    /// Running or paused.
    pub was: Status,
}

impl Default for State {
    fn default() -> State {
        State {
            status: Status::Created,
            init: None,
            monitor: None,
            exit_code: 0,
            error: String::new(),
            started: None,
            finished: None,
            restarts: 0,
            stop_requested: false,
            stdio: Vec::new(),
            came_from: None,
            saved: None,
            frozen: None,
            restored: None,
            stays_for: None,
            endpoints: Vec::new(),
            health: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Created,
    /// The program runs or is just being made to.
    Running,
    Paused,
    /// Between two runs, under a restart policy.
    Restarting,
    Exited,
}

impl Status {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        }
    }

    pub fn is_up(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }
}

impl State {
    /// The record corrected by what the kernel says now.
    pub fn observed(mut self) -> State {
        let init_runs = self.init.as_ref().is_some_and(ProcessId::is_alive);
        let monitor_runs = self.monitor.as_ref().is_some_and(ProcessId::is_alive);
        if self.status.is_up() && !init_runs && !monitor_runs {
            self.status = Status::Exited;
            self.exit_code = UNKNOWN_EXIT_CODE;
        }
        self
    }

    /// Goes from one status to another; false if it has left the first one meanwhile.
    pub(crate) fn turn(&mut self, from: Status, to: Status) -> bool {
        let is_as_expected = self.status == from;
        if is_as_expected {
            self.status = to;
        }
        is_as_expected
    }

    /// Is it there for somebody when it has ended, though it was run with `--rm`?
    pub(crate) fn stays(&self) -> bool {
        self.saved.is_some() || self.stays_for.as_ref().is_some_and(ProcessId::is_alive)
    }

    /// Has this container a monitor that will tell of its end?
    pub fn is_watched(&self) -> bool {
        self.monitor.as_ref().is_some_and(ProcessId::is_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(init: Option<ProcessId>) -> State {
        State { status: Status::Running, init, ..State::default() }
    }

    #[test]
    fn a_container_of_an_earlier_boot_has_exited() {
        let mut process = ProcessId::probe(std::process::id() as i32).unwrap();
        process.boot_id = "earlier".into();
        let state = running(Some(process)).observed();
        assert_eq!((state.status, state.exit_code), (Status::Exited, UNKNOWN_EXIT_CODE));
    }

    #[test]
    fn a_container_without_its_monitor_still_runs() {
        let process = ProcessId::probe(std::process::id() as i32).unwrap();
        assert_eq!(running(Some(process)).observed().status, Status::Running);
    }
}
