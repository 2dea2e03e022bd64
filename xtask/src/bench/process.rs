//! Plain process trees: dump and restore by `stasis process`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::{
    Figure,
    meter::{self, Measured, median, milliseconds},
};
use crate::build::{Binaries, workspace};

pub struct Workload {
    pub name: &'static str,
    dump: Goal,
    restore: Goal,
    /// Size of the memory that counts, for the baselines.
    bytes: u64,
    rounds: usize,
}

impl Workload {
    /// Where its files are. Contents are compared with those of the same disk. Many small files are
    /// kept off it: ext4 passes over the places of files that were removed in the last minutes, which
    /// makes new ones ten times as dear after a test run, or after the round before.
    fn place(&self) -> PathBuf {
        match self.bytes {
            GIB.. => workspace().join("target"),
            _ => "/dev/shm".into(),
        }
    }
}

/// What a time is compared with.
enum Goal {
    /// So many times the baseline.
    Ratio(f64),
    /// At most so many milliseconds.
    Limit(f64),
}

const GIB: u64 = 1 << 30;
const SUPERVISOR_MIB: f64 = 32.0;

/// Limits of trees of many tasks and threads are a quarter of what CRIU 4.2 needs on a machine of
/// two cores: dump and restore of 101 tasks 735 and 187 ms, of 501 threads 253 and 172 ms.
pub const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "memory-1m",
        dump: Goal::Limit(8.0),
        restore: Goal::Limit(8.0),
        bytes: 1 << 20,
        rounds: 11,
    },
    Workload {
        name: "memory-1g",
        dump: Goal::Ratio(1.5),
        restore: Goal::Ratio(1.3),
        bytes: GIB,
        rounds: 3,
    },
    Workload {
        name: "memory-1g-huge",
        dump: Goal::Ratio(1.5),
        restore: Goal::Ratio(1.3),
        bytes: GIB,
        rounds: 3,
    },
    Workload {
        name: "tasks-101",
        dump: Goal::Limit(735.0 / 4.0),
        restore: Goal::Limit(187.0 / 4.0),
        bytes: 0,
        rounds: 15,
    },
    Workload {
        name: "threads-501",
        dump: Goal::Limit(253.0 / 4.0),
        restore: Goal::Limit(172.0 / 4.0),
        bytes: 0,
        rounds: 15,
    },
];

#[derive(Default)]
struct Rounds {
    write: Vec<f64>,
    read: Vec<f64>,
    dump: Vec<f64>,
    restore: Vec<f64>,
    peak_mib: f64,
}

pub fn measure(binaries: &Binaries, workload: &Workload) -> anyhow::Result<Vec<Figure>> {
    let mut rounds = Rounds::default();
    for _ in 0..workload.rounds {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(workload.place())?;
        round(binaries, workload, dir.path(), &mut rounds)?;
    }
    Ok(figures(workload, rounds))
}

fn round(
    binaries: &Binaries,
    workload: &Workload,
    dir: &Path,
    rounds: &mut Rounds,
) -> anyhow::Result<()> {
    if workload.bytes >= GIB {
        let (write, read) = baseline(binaries, workload, dir)?;
        rounds.write.push(write);
        rounds.read.push(read);
    }
    let mut tree = Tree::start(&binaries.zoo, workload.name, dir)?;
    let images = dir.join("images");
    fs::create_dir(&images)?;
    let dumped = tree.dump(&binaries.stasis, &images)?;
    rounds.dump.push(milliseconds(dumped.time));
    let restored = tree.restore(&binaries.stasis, &images)?;
    rounds.restore.push(milliseconds(restored.time));
    let peak_kib = dumped.peak_kib.max(restored.peak_kib);
    rounds.peak_mib = rounds.peak_mib.max(peak_kib as f64 / 1024.0);
    Ok(())
}

/// Milliseconds for writing and for reading as many bytes.
fn baseline(binaries: &Binaries, workload: &Workload, dir: &Path) -> anyhow::Result<(f64, f64)> {
    let file = dir.join("baseline");
    let run = |what: &str| -> anyhow::Result<f64> {
        let mut zoo = Command::new(&binaries.zoo);
        zoo.args(["work", what]).arg(&file).env("ZOO_DIR", dir);
        let output = zoo.output().context("cannot start the zoo")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let nanoseconds: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(milliseconds(Duration::from_nanos(nanoseconds)))
    };
    let read = if workload.name.ends_with("huge") { "baseline-read-huge" } else { "baseline-read" };
    let times = (run("baseline-write")?, run(read)?);
    fs::remove_file(file)?;
    Ok(times)
}

fn figures(workload: &Workload, rounds: Rounds) -> Vec<Figure> {
    let figure = |what, times: Vec<f64>, goal: &Goal, baseline: Vec<f64>| {
        let (reference, limit) = match goal {
            Goal::Ratio(limit) => (median(baseline), *limit),
            Goal::Limit(milliseconds) => (*milliseconds, 1.0),
        };
        let (workload, value) = (workload.name.to_owned(), median(times));
        Figure { workload, what, value, reference, limit, unit: "ms" }
    };
    vec![
        figure("dump", rounds.dump, &workload.dump, rounds.write),
        figure("restore", rounds.restore, &workload.restore, rounds.read),
        Figure {
            workload: workload.name.to_owned(),
            what: "supervisor's memory",
            value: rounds.peak_mib,
            reference: SUPERVISOR_MIB,
            limit: 1.0,
            unit: "MB",
        },
    ]
}

/// A sleeping tree, which is gone when this goes.
struct Tree {
    child: Child,
    dir: PathBuf,
}

impl Tree {
    fn start(zoo: &Path, workload: &str, dir: &Path) -> anyhow::Result<Tree> {
        let mut command = Command::new(zoo);
        command.args(["work", workload]).env_clear().env("ZOO_DIR", dir).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start the zoo")?;
        let tree = Tree { child, dir: dir.to_owned() };
        let begin = Instant::now();
        while !dir.join("ready").exists() {
            if begin.elapsed() > Duration::from_secs(60) {
                bail!("the workload {workload} is never ready");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(tree)
    }

    fn dump(&mut self, stasis: &Path, images: &Path) -> anyhow::Result<Measured> {
        let pid = self.child.id().to_string();
        let mut command = Command::new(stasis);
        command.args(["process", "dump", "-t", &pid, "-D"]).arg(images);
        let measured = meter::measure(&mut command)?;
        self.child.wait()?;
        reap_orphans();
        Ok(measured)
    }

    fn restore(&mut self, stasis: &Path, images: &Path) -> anyhow::Result<Measured> {
        let mut command = Command::new(stasis);
        command.args(["process", "restore", "-d", "-D"]).arg(images);
        meter::measure(&mut command)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let wanted = format!("ZOO_DIR={}\0", self.dir.display());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let ours = environment.windows(wanted.len()).any(|part| part == wanted.as_bytes());
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (true, Some(pid)) = (ours, pid.and_then(Pid::from_raw)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
        reap_orphans();
    }
}

/// Collects what is left of a killed tree: it came to us, and a pid is free only after that.
fn reap_orphans() {
    while matches!(wait(WaitOptions::empty()), Ok(Some(_))) {}
}
