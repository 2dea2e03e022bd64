//! `container checkpoint --pre-checkpoint` and what builds upon it, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use container_support::Engine;

/// Counts, with sixteen megabytes that stay as they are.
const COUNT: &str = "x=$(head -c 12000000 /dev/zero | tr '\\0' x); \
                     i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn counter(engine: &Engine) {
    let root = format!("{}:O", engine.busybox().display());
    engine.run(&["run", "-d", "--name", "c", "--rootfs", &root, "sh", "-c", COUNT]);
    engine.await_log("c", "3\n");
}

/// Pages that were written.
fn pages(figures: &str) -> u64 {
    let figures: serde_json::Value = serde_json::from_str(figures).unwrap();
    let of_container = &figures["container_statistics"][0];
    of_container["criu_statistics"]["pages_written"].as_u64().unwrap()
}

/// Pages that were left in the pre-checkpoint.
fn unchanged(figures: &str) -> u64 {
    let figures: serde_json::Value = serde_json::from_str(figures).unwrap();
    let of_container = &figures["container_statistics"][0];
    of_container["stasis_statistics"]["pages_unchanged"].as_u64().unwrap()
}

fn pre_checkpoint(engine: &Engine) -> PathBuf {
    let id = engine.inspect("c", "{{.Id}}");
    engine.root().join("containers").join(id).join("pre-checkpoint")
}

/// Mappings of the container's init that somebody takes notes of.
fn watched(engine: &Engine) -> usize {
    let pid = engine.inspect("c", "{{.State.Pid}}");
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    smaps.lines().filter(|line| line.starts_with("VmFlags:") && line.contains(" uw")).count()
}

#[test]
fn a_checkpoint_builds_upon_the_pre_checkpoint_of_its_container() {
    let engine = Engine::new();
    counter(&engine);
    let refused = engine.try_run(&["container", "checkpoint", "--with-previous", "c"]);
    assert!(refused.err.contains("has no pre-checkpoint"), "{}", refused.err);
    for _ in 0..2 {
        let first = engine.run(&["container", "checkpoint", "-P", "--print-stats", "c"]);
        assert!(pages(&first) > 2000, "{first}");
        assert!(watched(&engine) > 0);
        engine.await_more("c");
    }
    assert_eq!(engine.inspect("c", "{{.State.Status}}"), "running");
    let args = ["container", "checkpoint", "--with-previous", "--print-stats", "c"];
    let second = engine.run(&args);
    assert!(unchanged(&second) > 2000, "{second}");
    assert!(!pre_checkpoint(&engine).exists());
    for _ in 0..2 {
        engine.run(&["container", "restore", "--keep", "c"]);
        engine.await_more("c");
        assert_eq!(watched(&engine), 0);
        engine.run(&["kill", "c"]);
    }
    engine.run(&["container", "restore", "c"]);
    engine.await_more("c");
}

#[test]
fn both_archives_together_give_containers() {
    let engine = Engine::new();
    counter(&engine);
    let (first, second) = (engine.dir.path().join("1.tar"), engine.dir.path().join("2.tar"));
    let exported = |options: &[&str], archive: &Path| {
        let args = ["container", "checkpoint", "-c", "none", "-e", text(archive), "c"];
        engine.run(&[&args[..2], options, &args[2..]].concat());
        fs::metadata(archive).unwrap().len()
    };
    assert!(exported(&["-P"], &first) > 8 << 20);
    engine.await_more("c");
    exported(&["--with-previous"], &second);
    let listed = Command::new("tar").arg("-tvf").arg(&second).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("checkpoint/parent -> ../pre-checkpoint"), "{listed}");
    assert!(!listed.contains("pre-checkpoint/pages"), "{listed}");
    let restore = |name, options: &[&str]| {
        let args = ["container", "restore", "-i", text(&second), "-n", name];
        engine.try_run(&[&args[..], options].concat())
    };
    let alone = restore("alone", &[]);
    assert!(alone.err.contains("--import-previous"), "{}", alone.err);
    let swapped = engine.try_run(&["container", "restore", "-i", text(&first), "-n", "swapped"]);
    assert!(swapped.err.contains("memory alone"), "{}", swapped.err);
    for name in ["one", "two"] {
        let done = restore(name, &["--import-previous", text(&first)]);
        assert_eq!(done.code, 0, "{}", done.err);
        engine.await_more(name);
        engine.assert_counts(name);
    }
    // A container that came from both has a checkpoint of its own.
    engine.run(&["container", "checkpoint", "one"]);
    engine.run(&["container", "restore", "one"]);
    engine.await_more("one");
    engine.assert_counts("one");
    assert_eq!(containers(&engine).len(), 3, "something is left: {:?}", containers(&engine));
}

fn containers(engine: &Engine) -> Vec<String> {
    let entries = fs::read_dir(engine.root().join("containers")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn another_pre_checkpoint_or_a_damaged_one_is_refused() {
    let engine = Engine::new();
    counter(&engine);
    let path = |name: &str| engine.dir.path().join(name);
    let export = |options: &[&str], name: &str| {
        let archive = path(name);
        let args = ["container", "checkpoint", "-c", "none", "-e", text(&archive), "c"];
        engine.run(&[&args[..2], options, &args[2..]].concat());
    };
    export(&["-P"], "older.tar");
    export(&["-P"], "right.tar");
    export(&["--with-previous"], "checkpoint.tar");
    let check = |previous: &str, expect: &str| {
        let (archive, previous) = (path("checkpoint.tar"), path(previous));
        let args = ["container", "restore", "-i", text(&archive), "-n", "new"];
        let done = engine.try_run(&[&args[..], &["--import-previous", text(&previous)]].concat());
        assert!(done.code != 0 && done.err.contains(expect), "{expect}: {}", done.err);
        assert_eq!(containers(&engine).len(), 1, "{expect}: {:?}", containers(&engine));
    };
    check("older.tar", "builds upon another pre-checkpoint");
    check("checkpoint.tar", "holds no pre-checkpoint");
    let mut bytes = fs::read(path("right.tar")).unwrap();
    let pages = bytes.windows(26).position(|name| name == b"pre-checkpoint/pages-1.img").unwrap();
    bytes[pages + 512 + 100] ^= 1;
    fs::write(path("spoilt.tar"), &bytes).unwrap();
    check("spoilt.tar", "contents were changed");
    fs::write(path("cut.tar"), &bytes[..bytes.len() / 2]).unwrap();
    check("cut.tar", "ends too early");
}

#[test]
fn a_pre_checkpoint_without_notes_costs_the_gain_and_nothing_else() {
    let engine = Engine::new();
    counter(&engine);
    engine.run(&["container", "checkpoint", "--pre-checkpoint", "c"]);
    let pid = engine.inspect("c", "{{.State.Pid}}");
    let record = engine.dir.path().join("run/tracking").join(format!("{pid}.json"));
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    engine.eventually("nobody watches", || watched(&engine) == 0);
    let args = ["container", "checkpoint", "--with-previous", "--print-stats", "c"];
    let done = engine.try_run(&args);
    assert!(done.err.contains("nobody knows what changed"), "{}", done.err);
    assert!(pages(&done.out) > 2000, "{}", done.out);
    engine.run(&["container", "restore", "c"]);
    engine.await_more("c");
    engine.assert_counts("c");
}

#[test]
fn an_archive_that_cannot_be_written_leaves_no_pre_checkpoint() {
    let engine = Engine::new();
    counter(&engine);
    let target = engine.dir.path().join("missing/archive.tar");
    let done = engine.try_run(&["container", "checkpoint", "-P", "-e", text(&target), "c"]);
    assert_ne!(done.code, 0);
    assert!(!pre_checkpoint(&engine).exists());
    assert_eq!(watched(&engine), 0);
    // A checkpoint that nobody prepared, while a pre-checkpoint is there, ends it.
    engine.run(&["container", "checkpoint", "-P", "c"]);
    engine.run(&["checkpoint", "create", "--leave-running", "c", "whole"]);
    assert_eq!((watched(&engine), pre_checkpoint(&engine).exists()), (0, false));
    engine.await_more("c");
    engine.assert_counts("c");
}
