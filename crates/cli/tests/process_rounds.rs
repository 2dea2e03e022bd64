//! `process pre-dump` and the dump after it: who keeps the notes, and what becomes of the tree when
//! something goes wrong between the rounds.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn each_round_writes_what_changed_since_the_one_before() {
    let mut play = Play::start();
    let first = figures(&play.pre_dump("1", None));
    let second = figures(&play.pre_dump("2", Some("1")));
    assert!(first.0 > 2000 && first.1 == 0, "{first:?}");
    assert!(second.1 > 2000, "{second:?}");
    let dumped = play.dump("3", &["--prev-images-dir", "../2"]);
    let last = figures(&dumped);
    assert!(last.1 > 2000, "{last:?}");
    assert_eq!(fs::read_link(play.path("3/parent")).unwrap(), Path::new("../2"));
    play.sleeper.wait().unwrap();
    play.restore("3");
    assert_eq!(play.watched(), 0);
}

#[test]
fn the_tree_runs_on_without_its_keeper_and_the_next_round_writes_everything() {
    let mut play = Play::start();
    play.pre_dump("1", None);
    assert!(play.watched() > 0);
    kill_process(play.keeper().unwrap(), Signal::KILL).unwrap();
    play.wait_until(|play| play.watched() == 0);
    let dumped = play.dump("2", &["--prev-images-dir", "../1"]);
    assert!(said(&dumped).contains("nobody knows what changed since"), "{}", said(&dumped));
    assert_eq!(figures(&dumped).1, 0);
    play.sleeper.wait().unwrap();
    fs::remove_dir_all(play.path("1")).unwrap();
    play.restore("2");
}

#[test]
fn changes_are_not_counted_from_a_round_that_is_not_the_last() {
    let play = Play::start();
    play.pre_dump("1", None);
    play.pre_dump("2", Some("1"));
    let dumped = play.dump("3", &["-R", "--prev-images-dir", "../1"]);
    assert!(said(&dumped).contains("nobody knows what changed since"), "{}", said(&dumped));
    assert_eq!(figures(&dumped).1, 0);
}

#[test]
fn a_dump_ends_the_rounds_also_when_it_lets_the_tree_run_and_does_not_use_them() {
    let play = Play::start();
    play.pre_dump("1", None);
    let checked = play.stasis("check", &[]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(play.watched() > 0, "a look has ended the notes");
    play.dump("2", &["-R"]);
    assert_eq!((play.watched(), play.keeper()), (0, None));
}

#[test]
fn a_round_onto_a_full_disk_leaves_the_tree_and_nothing_else() {
    let play = Play::start();
    let full = SmallDisk::mount();
    play.pre_dump("1", None);
    let dir = full.0.path().to_str().unwrap().to_owned();
    let refused = play.stasis("pre-dump", &["-D", &dir]);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("No space"), "{}", said(&refused));
    assert_eq!(fs::read_dir(full.0.path()).unwrap().count(), 0, "files are left");
    assert_eq!((play.watched(), play.keeper()), (0, None));
    play.dump("2", &["-R"]);
}

#[test]
fn a_keeper_ends_with_the_tree() {
    let mut play = Play::start();
    play.pre_dump("1", None);
    let keeper = play.keeper().unwrap();
    play.sleeper.kill().unwrap();
    play.sleeper.wait().unwrap();
    play.wait_until(|play| play.keeper().is_none());
    play.wait_until(|_| is_gone(keeper));
}

/// A keeper whose command has ended is a child of nobody here.
fn is_gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// A shell with some memory in a session of its own, and a directory for everything.
struct Play {
    dir: tempfile::TempDir,
    sleeper: Child,
}

impl Play {
    fn start() -> Play {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("setsid");
        // Twelve megabytes that stay as they are.
        let script = "x=$(head -c 12000000 /dev/zero | tr '\\0' x); : > \"$1\"; \
                      while :; do sleep 0.05; done";
        let ready = dir.path().join("ready");
        command.args(["bash", "-c", script, "bash", ready.to_str().unwrap()]);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let play = Play { dir, sleeper: command.spawn().unwrap() };
        play.wait_until(|_| ready.exists());
        play
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn stasis(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stasis"));
        command.arg("--runroot").arg(self.path("run")).args(["process", verb]);
        if verb != "restore" {
            command.args(["-t", &self.sleeper.id().to_string()]);
        }
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn pre_dump(&self, name: &str, previous: Option<&str>) -> Output {
        let dir = self.path(name);
        let previous = previous.map(|previous| format!("../{previous}"));
        let mut arguments = vec!["-D", dir.to_str().unwrap(), "--track-mem", "--stats"];
        arguments.extend(previous.iter().flat_map(|link| ["--prev-images-dir", link.as_str()]));
        let output = self.stasis("pre-dump", &arguments);
        assert!(output.status.success(), "{}", said(&output));
        output
    }

    fn dump(&self, name: &str, arguments: &[&str]) -> Output {
        let dir = self.path(name);
        let arguments = [&["-D", dir.to_str().unwrap(), "--stats"], arguments].concat();
        let output = self.stasis("dump", &arguments);
        assert!(output.status.success(), "{}", said(&output));
        output
    }

    fn restore(&self, name: &str) {
        let dir = self.path(name);
        let output = self.stasis("restore", &["-d", "-D", dir.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Mappings that somebody takes notes of.
    fn watched(&self) -> usize {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.sleeper.id()));
        let smaps = smaps.unwrap_or_default();
        let flags = smaps.lines().filter(|line| line.starts_with("VmFlags:"));
        flags.filter(|line| line.contains(" uw")).count()
    }

    fn keeper(&self) -> Option<Pid> {
        let record = self.path(&format!("run/tracking/{}.json", self.sleeper.id()));
        let text = fs::read_to_string(record).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        Pid::from_raw(i32::try_from(record["keeper"]["pid"].as_i64()?).unwrap())
    }

    fn wait_until(&self, condition: impl Fn(&Play) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.sleeper);
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.sleeper.wait();
    }
}

/// Pages written and pages left in the round before.
fn figures(output: &Output) -> (u64, u64) {
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (stats["pages"].as_u64().unwrap(), stats["pages_unchanged"].as_u64().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file system of a few pages.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", dir.path(), "tmpfs", flags, Some(c"size=32k")).unwrap();
        SmallDisk(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
