//! An engine of its own for each test: private directories, and nothing left behind.

#![allow(dead_code)] // not every test file uses all of it

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

pub struct Engine {
    pub dir: tempfile::TempDir,
}

/// What a command gave.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Engine {
    pub fn new() -> Engine {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        Engine { dir: tempfile::tempdir().unwrap() }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stasis"));
        command
            .arg("--root")
            .arg(self.root())
            .arg("--runroot")
            .arg(self.dir.path().join("run"))
            .args(args)
            .stdin(Stdio::null());
        command
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Runs a command to its end, whatever comes out.
    pub fn try_run(&self, args: &[&str]) -> Done {
        Done::from(self.command(args).output().unwrap())
    }

    /// Runs a command that must succeed; gives its standard output.
    pub fn run(&self, args: &[&str]) -> String {
        let done = self.try_run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.out
    }

    /// Runs a command with something on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Done::from(child.wait_with_output().unwrap())
    }

    /// Starts a shell script in the background.
    pub fn start(&self, name: &str, options: &[&str], script: &str) {
        let mut args = vec!["run", "-d", "--name", name, "--rootfs", "/:O"];
        args.extend_from_slice(options);
        args.extend(["sh", "-c", script]);
        self.run(&args);
    }

    pub fn inspect(&self, name: &str, format: &str) -> String {
        self.run(&["inspect", "-f", format, name]).trim().to_owned()
    }

    pub fn logs(&self, name: &str) -> String {
        self.run(&["logs", name])
    }

    /// Waits for something to become true.
    pub fn eventually(&self, what: &str, mut is_true: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_true() {
            assert!(Instant::now() < deadline, "{what}");
            sleep(Duration::from_millis(20));
        }
    }

    pub fn await_log(&self, name: &str, text: &str) {
        self.eventually(&format!("{name} never printed {text:?}"), || {
            self.logs(name).contains(text)
        });
    }

    /// Mounts, control groups and records of this engine.
    pub fn leftovers(&self) -> Vec<String> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.dir.path().to_str().unwrap().to_owned();
        let mut found: Vec<String> =
            mounts.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect();
        for dir in ["root/containers", "run/containers", "run/runtime"] {
            let entries = std::fs::read_dir(self.dir.path().join(dir)).into_iter().flatten();
            found.extend(entries.flatten().map(|entry| entry.path().display().to_string()));
        }
        found
    }
}

/// Control group directories of a container in all hierarchies.
pub fn groups_of(id: &str) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    hierarchies
        .map(|entry| entry.path().join("stasis").join(id))
        .chain([Path::new("/sys/fs/cgroup/stasis").join(id)])
        .filter(|path| path.exists())
        .collect()
}

impl Drop for Engine {
    fn drop(&mut self) {
        for id in self.try_run(&["ps", "-aq", "--no-trunc"]).out.lines() {
            let _ = self.command(&["rm", "-f", id]).output();
        }
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
