//! The shell container: `checkpoint create` and `start --checkpoint`, and Podman's two verbs, everything
//! synced; and an archive of a larger container, as a ratio to `tar | zstd` of the same files.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;

use super::{
    Figure,
    meter::{self, Measured, median, milliseconds},
};
use crate::build::{Binaries, workspace};

pub const NAME: &str = "shell-container";
pub const ARCHIVE: &str = "archive";

const COUNTER: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 1; done";
const CONTAINER: &str = "bench";
const CREATE_MS: f64 = 60.0;
const START_MS: f64 = 100.0;
/// A third of what Podman 4.3 with runc and CRIU needs on a machine of two cores: 400 and 250 ms.
const CHECKPOINT_MS: f64 = 400.0 / 3.0;
const RESTORE_MS: f64 = 250.0 / 3.0;
const ROUNDS: usize = 5;
/// A quarter of a gibibyte, half of which cannot be compressed.
const HOLDER: &str = "import os, time
held = [os.urandom(65536) + bytes(range(256)) * 256 for _ in range(2048)]
print('ready', flush=True)
while True: time.sleep(1)";

struct Stasis<'a> {
    binary: &'a Path,
    dir: &'a Path,
}

impl Stasis<'_> {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<Measured> {
        let mut command = Command::new(self.binary);
        command.args(self.homes()).args(arguments);
        command.env("STASIS_NETWORK", "none");
        meter::measure(command.stdin(Stdio::null()))
    }

    fn homes(&self) -> [OsString; 4] {
        let dir = |name| self.dir.join(name).into_os_string();
        ["--root".into(), dir("root"), "--runroot".into(), dir("runroot")]
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
    let (mut checkpoint, mut restore) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(1200));
        let taken = stasis.run(&["container", "checkpoint", CONTAINER])?;
        checkpoint.push(milliseconds(taken.time));
        let restored = stasis.run(&["container", "restore", CONTAINER])?;
        restore.push(milliseconds(restored.time));
    }
    Ok(vec![
        figure("checkpoint create", create, CREATE_MS),
        figure("start --checkpoint", start, START_MS),
        figure("container checkpoint", checkpoint, CHECKPOINT_MS),
        figure("container restore", restore, RESTORE_MS),
    ])
}

pub fn measure_archive(binaries: &Binaries) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(workspace().join("target"))?;
    let stasis = Stasis { binary: &binaries.stasis, dir: dir.path() };
    let program = ["python3", "-c", HOLDER];
    stasis.run(&[&["run", "--name", CONTAINER, "-d", "--rootfs", "/:O"], &program[..]].concat())?;
    let log =
        || Command::new(&binaries.stasis).args(stasis.homes()).args(["logs", CONTAINER]).output();
    while log()?.stdout.is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    stasis.run(&["checkpoint", "create", CONTAINER, "whole"])?;
    let files = fs::read_dir(dir.path().join("root/checkpoints"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("checkpoint").is_dir())
        .context("the checkpoint is not where checkpoints are")?;
    let (ours, theirs) = (dir.path().join("ours.tar.zst"), dir.path().join("theirs.tar.zst"));
    let (mut export, mut pipe) = (Vec::new(), Vec::new());
    let (mut ours_mib, mut theirs_mib) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let reference = format!("{CONTAINER}/whole");
        let target = ours.to_string_lossy();
        export.push(milliseconds(
            stasis.run(&["checkpoint", "export", "-o", &target, &reference])?.time,
        ));
        let mut shell = Command::new("/bin/sh");
        shell.args([
            "-c",
            "tar -C \"$1\" -cf - . | zstd -q -T0 -3 -f -o \"$2\" && sync \"$2\"",
            "sh",
        ]);
        pipe.push(milliseconds(meter::measure(shell.arg(&files).arg(&theirs))?.time));
        (ours_mib, theirs_mib) = (mebibytes(&ours)?, mebibytes(&theirs)?);
        fs::remove_file(&ours)?;
    }
    let figure = |what, value, reference, limit, unit| Figure {
        workload: ARCHIVE.to_owned(),
        what,
        value,
        reference,
        limit,
        unit,
    };
    Ok(vec![
        figure("export : tar | zstd", median(export), median(pipe), 1.0, "ms"),
        figure("size : tar | zstd", ours_mib, theirs_mib, 1.02, "M"),
    ])
}

fn mebibytes(file: &Path) -> anyhow::Result<f64> {
    Ok(fs::metadata(file)?.len() as f64 / f64::from(1 << 20))
}

fn figure(what: &'static str, times: Vec<f64>, limit_ms: f64) -> Figure {
    let (workload, value) = (NAME.to_owned(), median(times));
    Figure { workload, what, value, reference: limit_ms, limit: 1.0, unit: "ms" }
}
