//! `rewind`, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{fs, process::Stdio, thread::sleep, time::Duration};

use container_support::Engine;

const COUNT: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";

fn counter(engine: &Engine, options: &[&str], script: &str) {
    let root = format!("{}:O", engine.busybox().display());
    let mut args = vec!["run", "-d", "--name", "c", "--rootfs", &root];
    args.extend_from_slice(options);
    args.extend(["sh", "-c", script]);
    engine.run(&args);
    engine.await_log("c", "3\n");
}

fn exec(engine: &Engine, script: &str) -> String {
    engine.run(&["exec", "c", "sh", "-c", script])
}

fn last_line(engine: &Engine) -> u32 {
    engine.logs("c").lines().last().unwrap().parse().unwrap()
}

#[test]
fn it_takes_memory_files_and_volumes_back_while_the_container_runs() {
    let engine = Engine::new();
    counter(&engine, &["-v", "vol:/data", "--rm"], &format!("echo then | tee /f /data/f; {COUNT}"));
    engine.run(&["checkpoint", "create", "--leave-running", "c", "x"]);
    let id = engine.inspect("c", "{{.Id}}");
    engine.await_more("c");
    for options in [&[][..], &["--force"], &["--save", "later"]] {
        exec(&engine, "echo now | tee /f /data/f; echo > /new");
        let before = last_line(&engine);
        let nr_lines = engine.logs("c").lines().count();
        let args = [&["rewind"], options, &["c", "x"]].concat();
        assert_eq!(engine.run(&args), "c\n");
        engine.eventually("it goes on", || engine.logs("c").lines().count() > nr_lines + 1);
        let log = engine.logs("c");
        let back: Vec<u32> = log.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        let jumps = back.windows(2).filter(|pair| pair[1] <= pair[0]).count();
        assert!(jumps >= 1 && back.contains(&before), "{log}");
        assert_eq!(
            exec(&engine, "cat /f /data/f; test -e /new || echo gone"),
            "then\nthen\ngone\n"
        );
        assert_eq!(engine.inspect("c", "{{.Id}} {{.State.Status}}"), format!("{id} running"));
    }
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "x\nlater\n");
    engine.run(&["rewind", "c/later"]);
    assert_eq!(exec(&engine, "cat /f /data/f"), "now\nnow\n");
    engine.run(&["stop", "-t", "0", "c"]);
    assert_eq!(engine.run(&["ps", "-aq"]), "", "--rm holds again");
}

#[test]
fn a_stopped_container_goes_back_to_the_newest() {
    let engine = Engine::new();
    counter(&engine, &[], COUNT);
    let none = engine.try_run(&["rewind", "c"]);
    assert!(none.err.contains("has no checkpoint"), "{}", none.err);
    engine.run(&["checkpoint", "create", "--leave-running", "c", "old"]);
    engine.run(&["checkpoint", "create", "c", "new"]);
    engine.run(&["rewind", "c"]);
    engine.await_more("c");
    engine.assert_counts("c");
    assert_eq!(engine.inspect("c", "{{.State.Checkpoint}}"), "new");
}

/// The checkpoint has a file open that is gone by now; the present run has not.
#[test]
fn what_fails_lets_the_container_run_on_as_it_was() {
    let engine = Engine::new();
    let marker = engine.busybox().join("etc/marker");
    fs::write(&marker, "x").unwrap();
    let count = "echo $i; i=$(expr $i + 1); sleep 0.05";
    let script = format!(
        "exec 3</etc/marker; i=0; until [ -e /go ]; do {count}; done; exec 3<&-; while true; do {count}; done"
    );
    counter(&engine, &["-v", "vol:/data"], &script);
    engine.run(&["checkpoint", "create", "--leave-running", "c", "x"]);
    exec(&engine, "touch /go; echo now > /data/f");
    engine.eventually("the file is closed", || !exec(&engine, "ls /proc/1/fd").contains('3'));
    fs::remove_file(&marker).unwrap();
    let failed = engine.try_run(&["rewind", "c", "x"]);
    assert!(failed.err.contains("/etc/marker"), "{}", failed.err);
    assert!(failed.err.contains("the container runs on as it was"), "{}", failed.err);
    engine.await_more("c");
    engine.assert_counts("c");
    assert_eq!(exec(&engine, "ls /go; cat /data/f"), "/go\nnow\n");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "x\n");
    engine.run(&["checkpoint", "create", "--leave-running", "c", "y"]);
    let given_up = engine.try_run(&["rewind", "-f", "c", "x"]);
    assert!(given_up.err.contains("the container is stopped"), "{}", given_up.err);
    engine.run(&["rewind", "c", "y"]);
    engine.await_more("c");
    assert_eq!(exec(&engine, "ls /go; cat /data/f"), "/go\nnow\n");
}

#[test]
fn what_cannot_be_kept_is_told_before_anything_ends() {
    let engine = Engine::new();
    counter(&engine, &[], COUNT);
    engine.run(&["checkpoint", "create", "--leave-running", "c", "x"]);
    engine.run(&["exec", "-d", "c", "sleep", "77"]);
    engine.eventually("exec", || engine.run(&["top", "c"]).contains("sleep 77"));
    let refused = engine.try_run(&["rewind", "c", "x"]);
    assert!(refused.err.contains("(sleep)") && refused.err.contains("--force"), "{}", refused.err);
    engine.await_more("c");
    engine.assert_counts("c");
    engine.run(&["rewind", "--force", "c", "x"]);
    engine.await_more("c");
    assert!(!engine.run(&["top", "c"]).contains("sleep 77"));
}

#[test]
fn killed_in_the_middle_nothing_is_lost() {
    let engine = Engine::new();
    counter(&engine, &["-v", "vol:/data"], &format!("echo then > /data/f; {COUNT}"));
    engine.run(&["checkpoint", "create", "--leave-running", "c", "x"]);
    exec(&engine, "echo now > /data/f");
    for round in 0..10u64 {
        let mut command = engine.command(&["rewind", "c", "x"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(3 + 9 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let is_up = || engine.inspect("c", "{{.State.Status}}") == "running";
        if is_up() {
            // A restore that was cut off ends on its own.
            sleep(Duration::from_millis(100));
        }
        if is_up() {
            engine.await_more("c");
        } else {
            let names = engine.run(&["checkpoint", "ls", "-q", "c"]);
            let kept = names.lines().rfind(|name| name.starts_with("before-rewind-"));
            engine.run(&["start", "--checkpoint", kept.expect(&names), "c"]);
            engine.await_more("c");
        }
        let seen = exec(&engine, "cat /data/f");
        assert!(seen == "now\n" || seen == "then\n", "{seen}");
    }
    engine.run(&["rewind", "c", "x"]);
    assert_eq!(exec(&engine, "cat /data/f"), "then\n");
}
