//! How long each phase takes.

use std::time::{Duration, Instant};

/// Notes the time of one phase after the other.
pub struct Phases {
    done: Vec<(&'static str, Duration)>,
    since: Instant,
}

impl Phases {
    pub fn start() -> Self {
        Phases { done: Vec::new(), since: Instant::now() }
    }

    /// Ends the phase that is running and gives it its name.
    pub fn end(&mut self, name: &'static str) {
        let now = Instant::now();
        self.done.push((name, now - self.since));
        self.since = now;
    }

    pub fn into_vec(self) -> Vec<(&'static str, Duration)> {
        self.done
    }

    /// Time of the named phase, zero if it did not happen.
    pub fn of(&self, name: &str) -> Duration {
        self.done.iter().filter(|(phase, _)| *phase == name).map(|(_, time)| *time).sum()
    }
}
