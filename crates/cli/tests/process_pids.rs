//! Pids that a restore needs: those of the dead are waited for, those of the living are told by name.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

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

/// A process that leads a session of its own; once dead it is a zombie until we wait for it.
fn start() -> Child {
    let mut command = Command::new("setsid");
    command.args(["sleep", "600"]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
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
