//! Checkpoints as objects of their own, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{fs, path::PathBuf};

use container_support::Engine;

const COUNT: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";

/// A counter in a small root file system.
fn counter(engine: &Engine, name: &str, options: &[&str], before: &str) {
    let root = format!("{}:O", engine.busybox().display());
    let script = format!("{before}{COUNT}");
    let mut args = vec!["run", "-d", "--name", name, "--rootfs", &root];
    args.extend_from_slice(options);
    args.extend(["sh", "-c", &script]);
    engine.run(&args);
    engine.await_log(name, "3\n");
}

fn freeze(engine: &Engine, container: &str, name: &str) {
    engine.run(&["checkpoint", "create", "--leave-running", container, name]);
}

fn id_of(engine: &Engine, reference: &str) -> String {
    engine.run(&["checkpoint", "inspect", "-f", "{{.Id}}", reference]).trim().to_owned()
}

/// Directories of checkpoints and what lies beside them.
fn on_disk(engine: &Engine) -> Vec<PathBuf> {
    let entries = fs::read_dir(engine.root().join("checkpoints")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn they_outlive_their_container_and_a_later_one_of_its_name_has_none() {
    let engine = Engine::new();
    counter(&engine, "c", &[], "echo kept > /file; ");
    freeze(&engine, "c", "x");
    let (id, of_container) = (id_of(&engine, "c/x"), engine.inspect("c", "{{.Id}}"));
    let removed = engine.try_run(&["rm", "-f", "c"]);
    assert!(removed.err.contains("checkpoints of c are kept: x ("), "{removed:?}");
    counter(&engine, "c", &[], "");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "");
    let refused = engine.try_run(&["start", "--checkpoint", "x", "c"]);
    assert!(refused.err.contains("container c has no checkpoint x"), "{}", refused.err);
    let foreign = engine.try_run(&["checkpoint", "rm", "c", "x"]);
    assert_eq!(foreign.code, 1, "{foreign:?}");
    let alone = engine.try_run(&["checkpoint", "rm", "c"]);
    assert!(alone.err.contains("c is a container and no checkpoint"), "{}", alone.err);
    freeze(&engine, "c", "x");
    assert_ne!(id_of(&engine, "c/x"), id, "the container that is there goes first");
    for reference in [&id, &id[..12]] {
        assert_eq!(id_of(&engine, reference), id);
    }
    let ambiguous = engine.try_run(&["checkpoint", "inspect", "x"]);
    assert!(ambiguous.err.contains("more than one checkpoint"), "{}", ambiguous.err);
    engine.run(&["rm", "-f", "--checkpoints", "c"]);
    assert_eq!(engine.run(&["checkpoint", "ls", "-q"]).trim(), &id[..12]);
    assert_eq!(engine.run(&["container", "restore", &id]).trim(), of_container);
    engine.await_more("c");
    assert_eq!(engine.run(&["exec", "c", "cat", "/file"]), "kept\n");
    assert_eq!(engine.inspect("c", "{{.Id}} {{.State.Restored}}"), format!("{of_container} true"));
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "x\n", "it is not used up");
    engine.run(&["checkpoint", "rm", "c/x"]);
    assert_eq!(on_disk(&engine), Vec::<PathBuf>::new());
}

#[test]
fn new_containers_come_of_a_stored_one_while_the_first_runs() {
    let engine = Engine::new();
    counter(&engine, "c", &["-v", "vol:/data"], "echo data > /data/f; ");
    freeze(&engine, "c", "x");
    engine.run(&["exec", "c", "sh", "-c", "echo later > /data/f"]);
    for name in ["one", "two"] {
        let id = engine.run(&["container", "restore", "c/x", "--name", name]);
        assert_eq!(engine.inspect(name, "{{.Id}}"), id.trim());
        engine.await_more(name);
        engine.assert_counts(name);
        assert_eq!(engine.run(&["exec", name, "cat", "/data/f"]), "data\n");
    }
    engine.run(&["exec", "one", "sh", "-c", "echo changed > /data/f"]);
    assert_eq!(engine.run(&["exec", "two", "cat", "/data/f"]), "data\n");
    assert_eq!(engine.run(&["exec", "c", "cat", "/data/f"]), "later\n");
    engine.run(&["checkpoint", "create", "one", "y"]);
    let tree = engine.run(&["checkpoint", "ls", "--tree"]);
    let lines: Vec<&str> = tree.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(lines, ["c/x", "└─ one/y"], "{tree}");
    engine.run(&["checkpoint", "rm", "c/x"]);
    engine.run(&["start", "--checkpoint", "y", "one"]);
    engine.await_more("one");
    engine.assert_counts("one");
    engine.assert_counts("c");
}

#[test]
fn archives_are_stored_once_and_without_a_container() {
    let engine = Engine::new();
    counter(&engine, "c", &[], "");
    freeze(&engine, "c", "x");
    let id = id_of(&engine, "c/x");
    let archive = engine.dir.path().join("x.tar.zst");
    let archive = archive.to_str().unwrap();
    engine.run(&["checkpoint", "export", "-o", archive, "c/x"]);
    assert_eq!(engine.run(&["checkpoint", "import", archive]).trim(), id, "it is here already");
    engine.run(&["rm", "-f", "--checkpoints", "c"]);
    assert_eq!(on_disk(&engine), Vec::<PathBuf>::new());
    assert_eq!(engine.run(&["checkpoint", "import", archive]).trim(), id);
    assert_eq!(engine.run(&["ps", "-aq"]), "");
    engine.run(&["container", "restore", "c/x", "--name", "d"]);
    engine.await_more("d");
    engine.assert_counts("d");
    let shown = engine.run(&["checkpoint", "inspect", &id]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Container"]["Exists"], false);
    assert_eq!(shown[0]["Processes"][0]["Name"], "sh");
    assert_eq!(shown[0]["Host"]["Architecture"], "x86_64");
    assert!(shown[0]["Sizes"]["Memory"].as_u64().unwrap() > 10_000, "{shown}");
}

#[test]
fn pruning_spares_what_is_needed() {
    let engine = Engine::new();
    counter(&engine, "c", &[], "");
    for name in ["one", "two", "three", "four"] {
        freeze(&engine, "c", name);
    }
    engine.run(&["checkpoint", "tag", "c/one", "golden"]);
    let names = || engine.run(&["checkpoint", "ls", "--format", "{{.Name}}"]);
    engine.run(&["checkpoint", "prune", "-f"]);
    assert_eq!(names(), "one\ntwo\nthree\nfour\n", "their container is there");
    let pruned = engine.run(&["checkpoint", "prune", "-f", "--keep-last", "1"]);
    assert!(pruned.contains("c/two (") && pruned.contains("c/three ("), "{pruned}");
    assert_eq!(names(), "one\nfour\n");
    engine.run(&["container", "checkpoint", "c"]);
    assert_eq!(engine.inspect("c", "{{.State.Checkpointed}}"), "true");
    engine.run(&["checkpoint", "prune", "-f", "--all"]);
    assert_eq!(names(), "one\ncheckpoint\n", "the container lies frozen in the last one");
    engine.run(&["container", "restore", "c"]);
    assert_eq!(engine.inspect("c", "{{.State.Checkpointed}}"), "false");
    engine.run(&["rm", "-f", "c"]);
    assert_eq!(id_of(&engine, "golden").len(), 64);
    engine.run(&["checkpoint", "untag", "golden"]);
    engine.run(&["checkpoint", "prune", "-f"]);
    assert_eq!(names(), "");
}

#[test]
fn one_that_is_being_restored_is_not_removed() {
    let engine = Engine::new();
    counter(&engine, "c", &[], "");
    freeze(&engine, "c", "x");
    let dir = engine.run(&["checkpoint", "inspect", "-f", "{{.Path}}", "c/x"]);
    let dir = fs::File::open(dir.trim()).unwrap();
    dir.lock_shared().unwrap();
    let refused = engine.try_run(&["checkpoint", "rm", "c/x"]);
    assert!(refused.code == 1 && refused.err.contains("is in use"), "{refused:?}");
    engine.run(&["checkpoint", "prune", "-f", "--all"]);
    drop(dir);
    engine.run(&["checkpoint", "rm", "c/x"]);
}

#[test]
fn a_container_of_rm_leaves_its_checkpoint() {
    let engine = Engine::new();
    counter(&engine, "c", &["--rm"], "");
    engine.run(&["checkpoint", "create", "c", "x"]);
    assert_eq!(engine.run(&["ps", "-aq"]), "");
    engine.run(&["container", "restore", "c/x"]);
    engine.await_more("c");
    engine.run(&["stop", "-t", "0", "c"]);
    assert_eq!(engine.run(&["ps", "-aq"]), "");
}

#[test]
fn damage_and_differences_are_told() {
    let engine = Engine::new();
    counter(
        &engine,
        "c",
        &["-v", "vol:/data"],
        "echo one > /same; echo one > /old; echo > /data/f; ",
    );
    freeze(&engine, "c", "x");
    engine.run(&[
        "exec",
        "c",
        "sh",
        "-c",
        "rm /old; echo > /new; echo two > /data/f; echo one > /same; rm /etc/group",
    ]);
    engine.await_more("c");
    freeze(&engine, "c", "y");
    let lines = engine.run(&["checkpoint", "diff", "c/x", "c/y"]);
    for line in ["A /new", "D /old", "C /data/f", "D /etc/group"] {
        assert!(lines.lines().any(|found| found == line), "{line}: {lines}");
    }
    assert!(!lines.contains("/same"), "{lines}");
    assert!(lines.starts_with("C process 1 (sh): "), "{lines}");
    assert_eq!(engine.run(&["checkpoint", "diff", "c/x", "c/x"]), "");
    let whole = engine.run(&["checkpoint", "verify"]);
    assert_eq!(whole.matches(": whole\n").count(), 2, "{whole}");
    let dir = engine.run(&["checkpoint", "inspect", "-f", "{{.Path}}", "c/y"]);
    let pages = PathBuf::from(dir.trim()).join("checkpoint/pages-1.img");
    let file = fs::File::options().write(true).open(pages).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"?", 777).unwrap();
    let found = engine.try_run(&["checkpoint", "verify", "-q"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(
        found.out.contains("c/y (") && found.out.contains("contents were changed"),
        "{found:?}"
    );
    assert_eq!(found.out.lines().count(), 1, "{found:?}");
}
