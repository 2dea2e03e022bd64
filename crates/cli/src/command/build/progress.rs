//! Telling of the steps of a build, in the form of BuildKit's plain progress.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use stasis_build::{Outcome, Report};
use stasis_container::log::Stream;

/// Every step with its number, its output and its time, on standard error.
#[derive(Default)]
pub struct Lines {
    steps: BTreeMap<usize, Step>,
}

struct Step {
    began: Instant,
    /// A line that has not come to its end.
    begun: Vec<u8>,
}

impl Report for Lines {
    fn begin(&mut self, step: usize, title: &str) {
        self.steps.insert(step, Step { began: Instant::now(), begun: Vec::new() });
        print(format!("#{step} {title}\n").as_bytes());
    }

    fn output(&mut self, step: usize, _: Stream, bytes: &[u8]) {
        let Some(state) = self.steps.get_mut(&step) else { return };
        state.begun.extend_from_slice(bytes);
        while let Some(end) = state.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = state.begun.drain(..=end).collect();
            print_line(step, state.began.elapsed(), &line);
        }
    }

    fn end(&mut self, step: usize, outcome: Outcome) {
        if let Some(state) = self.steps.remove(&step).filter(|state| !state.begun.is_empty()) {
            print_line(step, state.began.elapsed(), &[&state.begun, b"\n".as_slice()].concat());
        }
        let outcome = match outcome {
            Outcome::Done(time) => format!("DONE {:.1}s", time.as_secs_f64()),
            Outcome::Cached => "CACHED".to_owned(),
            Outcome::Failed(time) => format!("ERROR {:.1}s", time.as_secs_f64()),
        };
        print(format!("#{step} {outcome}\n\n").as_bytes());
    }
}

fn print_line(step: usize, time: Duration, line: &[u8]) {
    print(&[format!("#{step} {:.3} ", time.as_secs_f64()).as_bytes(), line].concat());
}

/// Nobody may read it, and the build goes on.
fn print(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// Says nothing, unless a step fails: then what that step has printed.
#[derive(Default)]
pub struct OnlyFailures {
    output: Vec<u8>,
}

/// More would only be the way to the end of a long output.
const MAX_KEPT_BYTES: usize = 64 << 10;

impl Report for OnlyFailures {
    fn begin(&mut self, _: usize, _: &str) {
        self.output.clear();
    }

    fn output(&mut self, _: usize, _: Stream, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        let surplus = self.output.len().saturating_sub(MAX_KEPT_BYTES);
        self.output.drain(..surplus);
    }

    fn end(&mut self, _: usize, outcome: Outcome) {
        if let Outcome::Failed(_) = outcome {
            print(&self.output);
        }
    }
}
