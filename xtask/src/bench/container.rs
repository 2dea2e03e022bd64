//! The shell container: `checkpoint create` and `start --checkpoint`, everything synced.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Figure,
    meter::{self, Measured, median, milliseconds},
};
use crate::build::{Binaries, workspace};

pub const NAME: &str = "shell-container";

const COUNTER: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 1; done";
const CONTAINER: &str = "bench";
const CREATE_MS: f64 = 60.0;
const START_MS: f64 = 100.0;
const ROUNDS: usize = 5;

struct Stasis<'a> {
    binary: &'a Path,
    dir: &'a Path,
}

impl Stasis<'_> {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<Measured> {
        let (root, runroot) = (self.dir.join("root"), self.dir.join("runroot"));
        let mut command = Command::new(self.binary);
        command.arg("--root").arg(root).arg("--runroot").arg(runroot).args(arguments);
        command.env("STASIS_NETWORK", "none");
        meter::measure(command.stdin(Stdio::null()))
    }
}

/// The container must go, whatever became of the measurement.
impl Drop for Stasis<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "-f", CONTAINER]);
    }
}

pub fn measure(binaries: &Binaries) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(workspace().join("target"))?;
    let stasis = Stasis { binary: &binaries.stasis, dir: dir.path() };
    let program = ["/bin/sh", "-c", COUNTER];
    let run = ["run", "--name", CONTAINER, "-d", "--rootfs", "/:O"];
    stasis.run(&[&run[..], &program].concat())?;
    let (mut create, mut start) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(1200));
        let checkpoint = format!("round-{round}");
        let created = stasis.run(&["checkpoint", "create", CONTAINER, &checkpoint])?;
        create.push(milliseconds(created.time));
        let started = stasis.run(&["start", "--checkpoint", &checkpoint, CONTAINER])?;
        start.push(milliseconds(started.time));
    }
    Ok(vec![
        figure("checkpoint create", create, CREATE_MS),
        figure("start --checkpoint", start, START_MS),
    ])
}

fn figure(what: &'static str, times: Vec<f64>, limit_ms: f64) -> Figure {
    let (workload, value) = (NAME.to_owned(), median(times));
    Figure { workload, what, value, reference: limit_ms, limit: 1.0, unit: "ms" }
}
