//! How a program and the test that runs it talk: by files in the directory `$ZOO_DIR`.
//!
//! The program makes `ready` when it is set up and then waits until `go` exists, looking again and
//! again with short sleeps in between; it needs no signal, pipe or clock for that. Before it ends
//! it writes `pass` or `fail: why` to `result`. `go` holds two numbers: for how many nanoseconds
//! the program stood still at least and at most.
//!
//! `changes-by-itself` tells the test that the tree need not look the same before and after.
//!
//! A program that must be frozen inside a certain system call says ready just before that call; the
//! test gives it a moment to get there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{program::Verdict, raw};

/// Nobody plays longer than this; a program that was forgotten ends by itself.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// By how much a time may be missed on a busy machine.
const LATE: Duration = Duration::from_millis(900);
const EARLY: Duration = Duration::from_millis(15);

/// Cuts what ties us to whoever started us: descriptors besides the standard three, the session.
pub fn stand_alone() {
    let _ = raw::syscall(libc::SYS_close_range, &[3, u32::MAX as usize, 0]);
    let _ = rustix::process::setsid();
}

#[derive(Clone)]
pub struct Stage {
    dir: PathBuf,
}

/// For how long the program stood still.
#[derive(Clone, Copy, Debug)]
pub struct Still {
    pub min: Duration,
    pub max: Duration,
}

impl Stage {
    pub fn from_environment() -> anyhow::Result<Stage> {
        let dir = std::env::var_os("ZOO_DIR").context("ZOO_DIR names no directory to play in")?;
        Ok(Stage { dir: fs::canonicalize(dir).context("ZOO_DIR")? })
    }

    /// The same stage seen under another path, for programs that change their root directory.
    pub fn seen_at(dir: &str) -> Stage {
        Stage { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path inside the program's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn ready(&self) -> Verdict {
        self.mark("ready")
    }

    /// Says ready and waits until the test says go.
    pub fn pause(&self) -> anyhow::Result<Still> {
        self.ready()?;
        self.wait_for_go()
    }

    pub fn wait_for_go(&self) -> anyhow::Result<Still> {
        self.wait_for("go")?;
        let text = fs::read_to_string(self.path("go"))?;
        let mut numbers = text.split_whitespace().map(|n| n.parse().map(Duration::from_nanos));
        let mut next = || numbers.next().context("go holds no two numbers");
        Ok(Still { min: next()??, max: next()?? })
    }

    /// Makes the file `name` at once with its contents, so that others may wait for it.
    pub fn mark_with(&self, name: &str, contents: &str) -> Verdict {
        let draft = self.path(&format!("{name}.draft"));
        fs::write(&draft, contents).with_context(|| format!("write {}", draft.display()))?;
        Ok(fs::rename(&draft, self.path(name))?)
    }

    pub fn mark(&self, name: &str) -> Verdict {
        self.mark_with(name, "")
    }

    pub fn wait_for(&self, name: &str) -> Verdict {
        self.wait_until(name, || Ok(self.path(name).exists()))
    }

    /// Waits until `condition` holds.
    pub fn wait_until(
        &self,
        what: &str,
        mut condition: impl FnMut() -> anyhow::Result<bool>,
    ) -> Verdict {
        let start = Instant::now();
        while !condition()? {
            ensure!(start.elapsed() < PATIENCE, "nothing came of: {what}");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Writes the result of the whole program.
    pub fn conclude(&self, verdict: &Verdict) -> ExitCode {
        let text = match verdict {
            Ok(()) => "pass".to_owned(),
            Err(error) => format!("fail: {error:#}"),
        };
        if let Err(error) = self.mark_with("result", &text) {
            eprintln!("error: cannot tell the result ({text}): {error:#}");
            return ExitCode::FAILURE;
        }
        if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Still {
    /// Checks that something meant to last `wanted` took that long, standing still left aside.
    pub fn check(self, wanted: Duration, elapsed: Duration) -> Verdict {
        let (from, to) = ((wanted + self.min).saturating_sub(EARLY), wanted + self.max + LATE);
        ensure!(
            (from..to).contains(&elapsed),
            "took {elapsed:?} instead of {from:?} to {to:?} ({self:?})"
        );
        Ok(())
    }

    /// The same for something with a deadline on a clock that did not stand still.
    pub fn check_deadline(self, wanted: Duration, elapsed: Duration) -> Verdict {
        let (from, to) = (wanted.saturating_sub(EARLY), wanted.max(self.max) + LATE);
        ensure!(
            (from..to).contains(&elapsed),
            "took {elapsed:?} instead of {from:?} to {to:?} ({self:?})"
        );
        Ok(())
    }
}
