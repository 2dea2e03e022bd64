//! Health checks: a program that is run in the container now and then, and what its exit codes say.

mod watch;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_oci::Healthcheck;

pub use watch::main;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// So many probes are remembered.
const MAX_PROBES: usize = 5;

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
