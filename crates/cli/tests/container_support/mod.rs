//! An engine of its own for each test: private directories, and nothing left behind.

#![allow(dead_code)] // not every test file uses all of it

pub mod disk;
mod image;

use std::{
    io::{Read, Seek, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// No command of a test may take longer; one that hangs is killed and has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Engine {
    pub dir: tempfile::TempDir,
    /// Path of the network namespace that it runs in, if that is not ours.
    pub network: Option<String>,
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
        Engine { dir: tempfile::tempdir().unwrap(), network: None }
    }

    /// One that runs in another network namespace, with all that it starts.
    pub fn on_network(path: String) -> Engine {
        let mut engine = Engine::new();
        engine.network = Some(path);
        engine
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_stasis");
        let mut command = match &self.network {
            None => Command::new(program),
            Some(path) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={path}")).arg(program);
                command
            }
        };
        command
            .arg("--root")
            .arg(self.root())
            .arg("--runroot")
            .arg(self.dir.path().join("run"))
            .args(args)
            // Tests that do not ask for a network leave that of the machine alone.
            .env("STASIS_NETWORK", "none")
            .stdin(Stdio::null());
        command
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Runs a command to its end, whatever comes out.
    pub fn try_run(&self, args: &[&str]) -> Done {
        finish(&mut self.command(args), |_| ())
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
        finish(command.stdin(Stdio::piped()), |child| {
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        })
    }

    /// Starts a shell script in the background.
    pub fn start(&self, name: &str, options: &[&str], script: &str) {
        let mut args = vec!["run", "-d", "--name", name, "--rootfs", "/:O"];
        args.extend_from_slice(options);
        args.extend(["sh", "-c", script]);
        self.run(&args);
    }

    /// A root file system of a static busybox: a directory of this engine.
    pub fn busybox(&self) -> PathBuf {
        let root = self.dir.path().join("busybox");
        if root.exists() {
            return root;
        }
        for dir in ["bin", "etc", "tmp", "root"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("these tests need Debian's busybox-static, which cargo xtask test installs");
        // Not the copy: another test's child may still have it open for writing.
        let listed = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for name in String::from_utf8(listed.stdout).unwrap().lines().filter(|n| *n != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        root
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

    /// The log of a counter is 0, 1, 2 … without gap or repetition.
    pub fn assert_counts(&self, name: &str) {
        let log = self.logs(name);
        for (expect, line) in log.lines().enumerate() {
            assert_eq!(line, expect.to_string(), "{log}");
        }
    }

    /// Waits until a container prints more.
    pub fn await_more(&self, name: &str) {
        let before = self.logs(name).lines().count();
        self.eventually("it goes on", || self.logs(name).lines().count() > before + 2);
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

/// The command that leads to another engine.
pub fn way_to(there: &Engine) -> String {
    let words = there.command(&["container", "receive"]);
    let program = words.get_program().to_str().unwrap().to_owned();
    let rest = words.get_args().map(|word| word.to_str().unwrap());
    let words: Vec<&str> = [program.as_str()].into_iter().chain(rest).collect();
    format!("STASIS_NETWORK=none exec {}", words.join(" "))
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
            self.try_run(&["rm", "-f", id]);
        }
    }
}

/// Runs a command to its end, or kills it when the patience is over. Its output goes to files: what
/// it leaves running in the background must not keep us waiting for the end of a pipe.
pub fn finish(command: &mut Command, feed: impl FnOnce(&mut Child)) -> Done {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    feed(&mut child);
    let status = wait_for(&mut child, PATIENCE);
    let read = |file: &mut std::fs::File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (out, mut err) = (read(&mut out), read(&mut err));
    if let Some(signal) = status.signal() {
        err += &format!("(died by signal {signal}; patience is {PATIENCE:?})");
    }
    Done { code: status.code().unwrap_or(-1), out, err }
}

/// Waits for a child, and kills it when the patience is over.
pub fn wait_for(child: &mut Child, patience: Duration) -> ExitStatus {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            return child.wait().unwrap();
        }
        sleep(Duration::from_millis(2));
    }
}
