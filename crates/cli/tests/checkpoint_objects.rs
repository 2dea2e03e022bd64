//! Checkpoints as objects of their own, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{fs, path::PathBuf, process::Stdio};

use container_support::{Engine, disk::SmallDisk};
use stasis_oci::RunConfig;

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
    let row = || {
        let format = "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}";
        let rows = engine.run(&["system", "df", "--format", format]);
        rows.lines().find(|row| row.starts_with("Checkpoints")).unwrap().to_owned()
    };
    assert_eq!(row(), "Checkpoints 1 1 0B (0%)");
    assert!(engine.run(&["system", "df", "-v"]).contains("c/one"));
    engine.run(&["checkpoint", "untag", "golden"]);
    assert!(row().starts_with("Checkpoints 1 0 ") && row().ends_with("(100%)"), "{}", row());
    engine.run(&["system", "prune", "-f"]);
    assert_eq!(names(), "one\n");
    let pruned = engine.run(&["system", "prune", "-f", "--checkpoints"]);
    assert!(pruned.contains("Deleted Checkpoints:\nc/one ("), "{pruned}");
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
    let dir = PathBuf::from(dir.trim());
    let pages = dir.join("checkpoint/pages-1.img");
    let file = fs::File::options().write(true).open(pages).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"?", 777).unwrap();
    let found = engine.try_run(&["checkpoint", "verify", "-q"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(
        found.out.contains("c/y (") && found.out.contains("contents were changed"),
        "{found:?}"
    );
    assert_eq!(found.out.lines().count(), 1, "{found:?}");
    fs::write(dir.join("config.json"), "{").unwrap();
    let checked = engine.try_run(&["system", "check"]);
    assert!(checked.code == 1 && checked.out.contains("config.json"), "{checked:?}");
}

#[test]
fn an_image_of_a_checkpoint_is_restored_here_and_elsewhere() {
    let (engine, elsewhere) = (Engine::new(), Engine::new());
    let config = RunConfig { env: vec!["PATH=/bin".into()], ..RunConfig::default() };
    let base = engine.make_image("box", config);
    engine.run(&["run", "-d", "--name", "c", "box", "sh", "-c", COUNT]);
    engine.await_log("c", "3\n");
    engine.run(&["container", "checkpoint", "--create-image", "frozen:1", "c"]);
    let image = engine.images().find("frozen:1").unwrap();
    assert_eq!(image.manifest.layers.len(), 1);
    let annotation = |key: &str| image.manifest.annotations.get(key).map(String::as_str);
    let podman = "io.podman.annotations.checkpoint";
    assert_eq!(annotation(&format!("{podman}.name")), Some("c"));
    assert_eq!(annotation(&format!("{podman}.rootfsImageID")), Some(&*base.id.hex()));
    assert_eq!(annotation("io.kubernetes.cri-o.annotations.checkpoint.name"), Some("c"));
    assert_eq!(annotation("org.criu.checkpoint.engine.name"), Some("stasis"));
    let base_digest = base.manifest_digest.to_string();
    assert_eq!(annotation("org.opencontainers.image.base.digest"), Some(&*base_digest));
    let archive = engine.dir.path().join("both.tar");
    let archive = archive.to_str().unwrap();
    engine.run(&["save", "-o", archive, "frozen:1", "box"]);
    let refused = engine.try_run(&["rmi", "box"]);
    assert!(refused.err.contains("was made of it"), "{}", refused.err);
    engine.run(&["container", "restore", "frozen:1"]);
    engine.await_more("c");
    engine.assert_counts("c");
    let no_checkpoint = engine.try_run(&["container", "restore", "box", "-n", "d"]);
    assert!(no_checkpoint.err.contains("image box"), "{}", no_checkpoint.err);

    elsewhere.run(&["load", "-i", archive]);
    for name in ["one", "two"] {
        elsewhere.run(&["container", "restore", "frozen:1", "--name", name]);
        elsewhere.await_more(name);
        elsewhere.assert_counts(name);
    }
    assert_eq!(elsewhere.run(&["checkpoint", "ls", "-q"]), "");
    elsewhere.run(&["rm", "-f", "one", "two"]);
    elsewhere.run(&["rmi", "box"]);
    let missing =
        elsewhere.try_run(&["container", "restore", "--pull=never", "frozen:1", "-n", "x"]);
    assert!(missing.err.contains("image box"), "{}", missing.err);
    assert_eq!(elsewhere.leftovers(), Vec::<String>::new());
}

#[test]
fn an_image_of_a_checkpoint_runs() {
    let engine = Engine::new();
    let config = RunConfig { env: vec!["PATH=/bin".into()], ..RunConfig::default() };
    engine.make_image("box", config);
    let until_seven =
        "i=0; while [ ! -e /end ]; do echo $i; i=$((i + 1)); sleep 0.05; done; exit 7";
    engine.run(&["run", "-d", "--name", "c", "--label", "old=1", "box", "sh", "-c", until_seven]);
    engine.await_log("c", "3\n");
    engine.run(&["container", "checkpoint", "--create-image", "frozen:1", "c"]);
    let cidfile = engine.dir.path().join("id");
    let cidfile = cidfile.to_str().unwrap();
    let options = ["--name", "one", "--hostname", "uno", "--label", "new=2", "--cidfile", cidfile];
    let id = engine.run(&[&["run", "-d"], &options[..], &["frozen:1"]].concat());
    assert_eq!(engine.inspect("one", "{{.Id}}"), id.trim());
    assert_eq!(fs::read_to_string(cidfile).unwrap(), id.trim());
    assert_eq!(engine.inspect("one", "{{.Config.Labels.old}}{{.Config.Labels.new}}"), "12");
    assert_eq!(engine.run(&["exec", "one", "hostname"]), "uno\n");
    engine.await_more("one");
    engine.assert_counts("one");
    engine.run(&["exec", "one", "touch", "/end"]);
    assert_eq!(engine.run(&["wait", "one"]), "7\n");

    // In the foreground: what it prints from then on, and its exit code.
    let mut running = engine.command(&["run", "--rm", "--name", "front", "frozen:1"]);
    let running = running.stdout(Stdio::piped()).spawn().unwrap();
    engine.eventually("it runs", || engine.try_run(&["exec", "front", "true"]).code == 0);
    engine.await_more("front");
    engine.run(&["exec", "front", "touch", "/end"]);
    let done = running.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(7));
    let first = String::from_utf8(done.stdout).unwrap();
    let first: u32 = first.lines().next().unwrap().parse().unwrap();
    assert!(first > 2, "it went on at {first}");
    assert!(engine.try_run(&["inspect", "front"]).err.contains("front"), "--rm");
    engine.run(&["rm", "-f", "one", "c"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn what_was_frozen_cannot_be_typed_anew() {
    let engine = Engine::new();
    let config = RunConfig { env: vec!["PATH=/bin".into()], ..RunConfig::default() };
    engine.make_image("box", config);
    engine.run(&["run", "-d", "--name", "c", "box", "sh", "-c", COUNT]);
    engine.run(&["container", "checkpoint", "--create-image", "frozen:1", "c"]);
    let refused = |options: &[&str], command: &[&str], what: &str| {
        let args = [&["run", "-d"], options, &["frozen:1"], command].concat();
        let done = engine.try_run(&args);
        assert_eq!(done.code, 125, "{args:?}: {done:?}");
        assert!(done.err.contains(what), "{args:?}: {}", done.err);
        assert_eq!(engine.run(&["ps", "-aq"]).lines().count(), 1, "{args:?}");
    };
    refused(&[], &["sh", "-c", "x"], "the command \"sh -c x\"");
    refused(&["-e", "A=1"], &[], "--env");
    refused(&["-u", "1"], &[], "--user");
    refused(&["-v", "/x"], &[], "--volume");
    refused(&["--restart", "always"], &[], "--restart");
    refused(&["--ip", "10.0.0.2"], &[], "--ip without --network");
    refused(&["--health-cmd", "true"], &[], "--health-cmd");
    refused(&["-t"], &[], "without --tty");
    refused(&["-i"], &[], "without --interactive");
    refused(&["--network", "host"], &[], "--network host");
    refused(&["--name", "c"], &[], "\"c\" is already in use");
    let created = engine.try_run(&["create", "frozen:1"]);
    assert!(created.err.contains("stasis run -d frozen:1"), "{}", created.err);
}

#[test]
fn what_is_left_out_stands_in_the_checkpoint() {
    let engine = Engine::new();
    let script = "import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
s.sendto(b'x', s.getsockname())
print('ready', flush=True)
time.sleep(1000)";
    engine.run(&["run", "-d", "--name", "p", "--rootfs", "/:O", "python3", "-c", script]);
    engine.await_log("p", "ready");
    for (name, options) in [("runs", &["--leave-running"][..]), ("stops", &[])] {
        let args = [&["checkpoint", "create"], options, &["p", name]].concat();
        engine.run(&args);
        let losses = engine.run(&["checkpoint", "inspect", "-f", "{{json .Losses}}", name]);
        assert!(losses.contains("datagram"), "{name}: {losses}");
    }
}

/// Brings `c` back from `x`, and a new container `d` of it; gives their names one after the other.
fn each_restored(engine: &Engine, look: impl Fn(&str)) {
    engine.run(&["checkpoint", "create", "c", "x"]);
    engine.run(&["start", "--checkpoint", "x", "c"]);
    look("c");
    engine.run(&["container", "restore", "c/x", "-n", "d"]);
    look("d");
}

#[test]
fn a_restored_container_follows_its_restart_policy() {
    let engine = Engine::new();
    let root = format!("{}:O", engine.busybox().display());
    let count =
        "rm -f /end; i=0; until [ -e /end ]; do echo $i; i=$(expr $i + 1); sleep 0.05; done";
    let head = ["run", "-d", "--name", "c", "--rootfs", &root, "--restart", "always"];
    engine.run(&[&head[..], &["sh", "-c", count]].concat());
    engine.await_log("c", "3\n");
    each_restored(&engine, |name| {
        engine.run(&["checkpoint", "create", "--leave-running", name, "second"]);
        engine.assert_counts(name);
        engine.run(&["exec", name, "touch", "/end"]);
        engine.eventually("it starts again", || engine.inspect(name, "{{.RestartCount}}") == "1");
        engine.eventually("from its beginning", || engine.logs(name).matches("\n0\n").count() == 1);
        engine.run(&["stop", "-t", "0", name]);
        assert_eq!(engine.inspect(name, "{{.State.Status}} {{.State.Restored}}"), "exited false");
    });
}

#[test]
fn a_restored_container_is_looked_after() {
    let engine = Engine::new();
    let health = ["--health-cmd", "test -e /well", "--health-interval", "100ms"];
    counter(&engine, "c", &[&health[..], &["--health-retries", "1"]].concat(), "");
    each_restored(&engine, |name| {
        let health = || engine.inspect(name, "{{.State.Health.Status}}");
        engine.eventually("it is not well", || health() == "unhealthy");
        engine.run(&["exec", name, "touch", "/well"]);
        engine.eventually("it is well", || health() == "healthy");
        engine.assert_counts(name);
    });
}

#[test]
fn a_full_disk_keeps_what_is_there() {
    let engine = Engine::new();
    let place = engine.root().join("checkpoints");
    let _disk = SmallDisk::new(&place, 1024);
    counter(&engine, "c", &[], "");
    freeze(&engine, "c", "x");
    let id = id_of(&engine, "c/x");
    let stone = place.join("stone");
    let filled = fs::write(&stone, vec![1; 1 << 20]);
    let create = engine.try_run(&["checkpoint", "create", "c", "y"]);
    let rewind = engine.try_run(&["rewind", "c", "x"]);
    let left = on_disk(&engine);
    engine.await_more("c");
    engine.assert_counts("c");
    let whole = engine.run(&["checkpoint", "verify"]);
    fs::remove_file(&stone).unwrap();
    engine.run(&["rewind", "c", "x"]);
    engine.await_more("c");
    assert!(filled.is_err(), "the disk was not full");
    for done in [create, rewind] {
        assert!(done.code == 1 && done.err.contains("No space left"), "{done:?}");
    }
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(whole.contains(&id[..12]) && whole.contains(": whole"), "{whole}");
}
