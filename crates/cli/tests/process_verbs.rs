//! `process dump` and `process restore` where something is in the way: pids that are not free, a disk
//! that is full.

#![allow(clippy::unwrap_used)]

mod host_support;

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

#[test]
fn a_pid_that_a_zombie_holds_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut sleeper = start();
    dump(&sleeper, dir.path());
    let mut restore = stasis(dir.path(), "restore", &["-d"]).spawn().unwrap();
    sleep(Duration::from_millis(300));
    assert!(restore.try_wait().unwrap().is_none(), "it does not wait");
    sleeper.wait().unwrap();
    assert!(restore.wait().unwrap().success());
    kill_process(pid_of(&sleeper), Signal::KILL).unwrap();
}

#[test]
fn a_pid_that_somebody_holds_is_told_with_his_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut sleeper = start();
    dump(&sleeper, dir.path());
    sleeper.wait().unwrap();
    let again = stasis(dir.path(), "restore", &["-d"]).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    let refused = stasis(dir.path(), "restore", &["-d"]).output().unwrap();
    kill_process(pid_of(&sleeper), Signal::KILL).unwrap();
    assert!(!refused.status.success());
    let told = format!("pid {} is taken: process {} (\"sleep\")", sleeper.id(), sleeper.id());
    assert!(said(&refused).contains(&told), "{}", said(&refused));
}

/// On a machine with idle processors the dump keeps tasks on its own one for a while.
#[test]
fn tasks_of_a_dump_that_is_killed_take_back_their_processors() {
    let mut shell = start_with(&["sh", "-c", "for i in 1 2 3 4 5 6; do sleep 600 & done; wait"]);
    let root = shell.id();
    let children = std::fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap();
    let pids: Vec<u32> = std::iter::once(root)
        .chain(children.split_whitespace().map(|pid| pid.parse().unwrap()))
        .collect();
    assert_eq!(pids.len(), 7);
    let before: Vec<String> = pids.iter().map(|pid| processors(*pid)).collect();
    for microseconds in (1000..21_000).step_by(500) {
        let images = tempfile::tempdir().unwrap();
        let options = ["-t", &root.to_string(), "--leave-running"];
        let mut dump = stasis(images.path(), "dump", &options).spawn().unwrap();
        sleep(Duration::from_micros(microseconds));
        dump.kill().unwrap();
        dump.wait().unwrap();
        sleep(Duration::from_millis(20));
        let after: Vec<String> = pids.iter().map(|pid| processors(*pid)).collect();
        assert_eq!(after, before, "killed after {microseconds} us");
    }
    for pid in pids.iter().skip(1) {
        kill_process(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    assert!(shell.wait().unwrap().success(), "the shell does not go on");
}

/// Processors of a task, who traces it, and its signal mask.
fn processors(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let wanted = ["Cpus_allowed_list:", "TracerPid:", "SigBlk:"];
    let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_dump_onto_a_full_disk_leaves_the_process_and_nothing_else() {
    let full = SmallDisk::mount();
    let mut sleeper = start();
    let images = full.0.path();
    let dumped = stasis(images, "dump", &["-t", &sleeper.id().to_string()]).output().unwrap();
    assert!(!dumped.status.success());
    assert!(said(&dumped).contains("ENOSPC") || said(&dumped).contains("No space"));
    assert_eq!(std::fs::read_dir(images).unwrap().count(), 0, "files are left");
    assert!(sleeper.try_wait().unwrap().is_none(), "it has ended");
    let elsewhere = tempfile::tempdir().unwrap();
    dump(&sleeper, elsewhere.path());
    sleeper.wait().unwrap();
}

#[test]
fn of_a_restore_that_fails_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "read").unwrap();
    // Orphans come to us: nobody else is quick enough to hide that they were left.
    set_child_subreaper(Some(getpid())).unwrap();
    let script = format!("exec 3< {}; sleep 1000 & sleep 1000 & wait", file.display());
    let mut parent = start_with(&["sh", "-c", &script]);
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = || std::fs::read_to_string(&children).unwrap();
    while children().split_whitespace().count() < 2 {
        sleep(Duration::from_millis(10));
    }
    let children: Vec<i32> =
        children().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let images = dir.path().join("images");
    std::fs::create_dir(&images).unwrap();
    dump(&parent, &images);
    parent.wait().unwrap();
    for child in &children {
        waitpid(Pid::from_raw(*child), WaitOptions::empty()).unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    let failed = stasis(&images, "restore", &["-d"]).output().unwrap();
    assert!(!failed.status.success());
    assert!(said(&failed).contains("/file"), "{}", said(&failed));
    for pid in children.iter().copied().chain([pid_of(&parent).as_raw_nonzero().get()]) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(stat.is_err(), "{stat:?} is left");
    }
    std::fs::write(&file, "read").unwrap();
    let restored = stasis(&images, "restore", &["-d"]).output().unwrap();
    assert!(restored.status.success(), "{}", said(&restored));
    for child in children {
        kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
    }
    kill_process(pid_of(&parent), Signal::KILL).unwrap();
}

#[test]
fn a_processor_that_lacks_something_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut sleeper = start();
    dump(&sleeper, dir.path());
    sleeper.wait().unwrap();
    let here = stasis(dir.path(), "restore", &["--dry-run", "--cpu-cap", "all"]).output().unwrap();
    assert!(here.status.success(), "{here:?}");
    assert!(String::from_utf8_lossy(&here.stdout).contains("can be restored here"));
    host_support::of_a_wonderful_processor(dir.path());
    let told = stasis(dir.path(), "restore", &["--dry-run"]).output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("the processor: it lacks what Wonder had"), "{told}");
    // No processor has both.
    assert!(told.contains("xop") || told.contains("amx_tile"), "{told}");
    let refused = stasis(dir.path(), "restore", &["-d"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(said(&refused).contains("cannot restore here"), "{}", said(&refused));
    let forced = stasis(dir.path(), "restore", &["-d", "--cpu-cap", "fpu"]).output().unwrap();
    assert!(forced.status.success(), "{}", said(&forced));
    kill_process(pid_of(&sleeper), Signal::KILL).unwrap();
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

/// A process that leads a session of its own; once dead it is a zombie until we wait for it.
fn start() -> Child {
    start_with(&["sleep", "600"])
}

fn start_with(program: &[&str]) -> Child {
    let mut command = Command::new("setsid");
    command.args(program).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let sleeper = command.spawn().unwrap();
    sleep(Duration::from_millis(200));
    sleeper
}

fn dump(sleeper: &Child, images: &Path) {
    let dumped = stasis(images, "dump", &["-t", &sleeper.id().to_string()]).output().unwrap();
    assert!(dumped.status.success(), "{}", said(&dumped));
}

fn stasis(images: &Path, verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stasis"));
    command.args(["process", verb, "-D"]).arg(images).args(arguments).stdin(Stdio::null());
    command
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
