//! Health checks: a program that is run in the container now and then, and what its exit codes say.
//!
//! A process of our own for each run of a container looks after it, so that the monitor never waits. It
//! ends when init does.

use std::{
    fs::File,
    io::{Read, Seek},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_oci::Healthcheck;

use crate::{
    error::{Context, Result},
    exec::ExecOptions,
    home::Home,
    process::ProcessId,
    record::Lock,
    state::Status,
    store::{Container, Store},
    wait::wait_readable,
};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// So many probes are remembered, and so much of what each printed.
const MAX_PROBES: usize = 5;
const MAX_OUTPUT_BYTES: u64 = 4096;

/// What is known of a container that has a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// How many probes in a row have failed.
    pub failing_streak: u32,
    /// The last ones, the oldest first.
    pub log: Vec<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

/// One run of the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub start: Timestamp,
    pub end: Timestamp,
    /// -1 if it did not end in time or could not be run.
    pub exit_code: i32,
    pub output: String,
}

impl HealthStatus {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    /// Before the first probe.
    pub(crate) fn starting() -> Health {
        Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }
    }

    fn take(&mut self, probe: Probe, phase: Phase, retries: u32) {
        match (probe.exit_code, phase, self.status) {
            (0, ..) => {
                self.failing_streak = 0;
                self.status = HealthStatus::Healthy;
            }
            // Until it was healthy once, a program may take its time.
            (_, Phase::Beginning, HealthStatus::Starting) => {}
            _ => {
                self.failing_streak += 1;
                if self.failing_streak >= retries {
                    self.status = HealthStatus::Unhealthy;
                }
            }
        }
        self.log.push(probe);
        let excess = self.log.len().saturating_sub(MAX_PROBES);
        self.log.drain(..excess);
    }
}

/// Is the program given time to begin?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Beginning,
    Settled,
}

/// A health check with all numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    args: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Check {
    /// None if there is nothing to run.
    fn of(check: &Healthcheck) -> Option<Check> {
        let (kind, words) = check.test.split_first()?;
        let args = match (kind.as_str(), words) {
            ("CMD", [_, ..]) => words.to_vec(),
            ("CMD-SHELL", [text, ..]) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
            _ => return None,
        };
        let or = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(nanoseconds @ 1..) => Duration::from_nanos(nanoseconds),
            _ => default,
        };
        Some(Check {
            args,
            interval: or(check.interval, DEFAULT_INTERVAL),
            timeout: or(check.timeout, DEFAULT_TIMEOUT),
            start_period: or(check.start_period, Duration::ZERO),
            start_interval: or(check.start_interval, DEFAULT_START_INTERVAL),
            retries: u32::try_from(check.retries)
                .ok()
                .filter(|n| *n > 0)
                .unwrap_or(DEFAULT_RETRIES),
        })
    }

    fn phase(&self, running_for: Duration) -> Phase {
        if running_for < self.start_period { Phase::Beginning } else { Phase::Settled }
    }

    fn pause(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Beginning => self.start_interval.min(self.interval),
            Phase::Settled => self.interval,
        }
    }
}

impl Container {
    /// Has it a check that runs something?
    pub(crate) fn is_checked(&self) -> bool {
        self.config.healthcheck.as_ref().and_then(Check::of).is_some()
    }

    /// Held while a probe runs, and by who wants none to run.
    pub(crate) fn probe_lock(&self) -> Result<Lock> {
        Ok(Lock::take(&self.place.dir.join("probe.lock"))?)
    }
}

/// Body of `internal-health`: looks after a container until its init has ended.
///
/// # Errors
/// What kept it from its work, such as that the container was removed.
pub fn main(home: Home, id: &str) -> Result<()> {
    let container = Store::new(home).open(id)?;
    let Some(check) = container.config.healthcheck.as_ref().and_then(Check::of) else {
        return Ok(());
    };
    let Some(init) = container.state()?.init else { return Ok(()) };
    let Some(init_fd) = init.open() else { return Ok(()) };
    let watch = Watch { container, check, init, init_fd, begun: Instant::now() };
    watch.run()
}

struct Watch {
    container: Container,
    check: Check,
    init: ProcessId,
    init_fd: OwnedFd,
    begun: Instant,
}

impl Watch {
    fn run(&self) -> Result<()> {
        loop {
            let phase = self.check.phase(self.begun.elapsed());
            if wait_readable(&self.init_fd, Some(self.check.pause(phase)))? {
                return Ok(());
            }
            // While it stands still it cannot answer.
            if self.container.state()?.status == Status::Running {
                self.look()?;
            }
        }
    }

    fn look(&self) -> Result<()> {
        let lock = self.container.probe_lock()?;
        let start = Timestamp::now();
        let (exit_code, output) = self.probe().unwrap_or_else(|error| (-1, error.to_string()));
        let probe = Probe { start, end: Timestamp::now(), exit_code, output };
        drop(lock);
        let phase = self.check.phase(self.begun.elapsed());
        self.container.update(|state| {
            // The next run of the container has a watch of its own.
            if state.init.as_ref() == Some(&self.init) {
                let health = state.health.get_or_insert_with(Health::starting);
                health.take(probe, phase, self.check.retries);
            }
        })
    }

    fn probe(&self) -> Result<(i32, String)> {
        let memory = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC);
        let mut output = File::from(memory.context("make", "a memory file")?);
        let options = ExecOptions {
            args: self.check.args.clone(),
            env: Vec::new(),
            cwd: None,
            user: None,
            privileged: false,
            tty: false,
            stdin: false,
            detach: false,
            detach_keys: Vec::new(),
        };
        match self.container.exec_for(&options, &output, self.check.timeout)? {
            None => {
                let timeout = self.check.timeout;
                Ok((-1, format!("Health check exceeded timeout ({timeout:?})")))
            }
            Some(code) => {
                output.rewind().context("read", "what a health check printed")?;
                let mut bytes = Vec::new();
                let read = output.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
                read.context("read", "what a health check printed")?;
                Ok((code, String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i32) -> Probe {
        let now = Timestamp::UNIX_EPOCH;
        Probe { start: now, end: now, exit_code, output: String::new() }
    }

    fn after(codes: &[(i32, Phase)]) -> (HealthStatus, u32) {
        let mut health = Health::starting();
        codes.iter().for_each(|(code, phase)| health.take(probe(*code), *phase, 3));
        assert!(health.log.len() <= MAX_PROBES);
        (health.status, health.failing_streak)
    }

    #[test]
    fn so_many_failures_in_a_row_make_unhealthy() {
        use Phase::{Beginning, Settled};
        assert_eq!(after(&[(1, Settled), (1, Settled)]), (HealthStatus::Starting, 2));
        assert_eq!(after(&[(1, Settled); 3]), (HealthStatus::Unhealthy, 3));
        assert_eq!(after(&[(1, Settled), (1, Settled), (0, Settled)]), (HealthStatus::Healthy, 0));
        assert_eq!(after(&[(1, Beginning); 9]), (HealthStatus::Starting, 0));
        let failing_later = [(0, Beginning), (1, Beginning), (1, Beginning), (-1, Beginning)];
        assert_eq!(after(&failing_later), (HealthStatus::Unhealthy, 3));
    }

    #[test]
    fn what_is_not_said_is_dockers() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let of =
            |test: &[&str]| Check::of(&Healthcheck { test: words(test), ..Default::default() });
        let check = of(&["CMD-SHELL", "true"]).unwrap();
        assert_eq!(check.args, ["/bin/sh", "-c", "true"]);
        assert_eq!((check.interval, check.retries), (DEFAULT_INTERVAL, 3));
        assert_eq!(of(&["CMD", "a", "b"]).unwrap().args, ["a", "b"]);
        for test in [&[] as &[&str], &["NONE"], &["CMD"]] {
            assert!(of(test).is_none(), "{test:?}");
        }
    }
}
