//! `container checkpoint` and `container restore`, through the program itself: archives of ours and of
//! Podman's, and what is wrong with them.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod host_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use container_support::Engine;

const COUNT: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A counter with a volume, a removed file and a file in memory, frozen into an archive.
fn exported(engine: &Engine, options: &[&str]) -> PathBuf {
    let script = format!("rm /etc/passwd; echo kept > /dev/shm/f; echo data > /data/f; {COUNT}");
    let root = format!("{}:O", engine.busybox().display());
    engine.run(&[
        "run",
        "-d",
        "--name",
        "c",
        "-v",
        "vol:/data",
        "--rootfs",
        &root,
        "sh",
        "-c",
        &script,
    ]);
    engine.await_log("c", "3\n");
    let archive = engine.dir.path().join("archive.tar");
    let mut args = vec!["container", "checkpoint", "c", "--export", text(&archive)];
    args.extend_from_slice(options);
    assert_eq!(engine.run(&args), "c\n");
    archive
}

#[test]
fn an_archive_gives_new_containers_and_the_old_one() {
    let engine = Engine::new();
    let archive = exported(&engine, &[]);
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "", "it lies in the archive");
    for name in ["one", "two"] {
        let id = engine.run(&["container", "restore", "-i", text(&archive), "--name", name]);
        assert_eq!(engine.inspect(name, "{{.Id}}"), id.trim());
        engine.await_more(name);
        engine.assert_counts(name);
        let seen = engine.run(&["exec", name, "cat", "/data/f", "/dev/shm/f"]);
        assert_eq!(seen, "data\nkept\n");
        assert_ne!(engine.try_run(&["exec", name, "ls", "/etc/passwd"]).code, 0);
    }
    engine.run(&["exec", "one", "sh", "-c", "echo changed > /data/f"]);
    assert_eq!(engine.run(&["exec", "two", "cat", "/data/f"]), "data\n", "volumes are copies");
    let refused = engine.try_run(&["container", "restore", "-i", text(&archive)]);
    assert!(refused.err.contains("is there already"), "{}", refused.err);
    let id = engine.inspect("c", "{{.Id}}");
    engine.run(&["rm", "-f", "c"]);
    let refused = engine.try_run(&["container", "restore", "-i", text(&archive)]);
    assert!(refused.err.contains("volume vol is there already"), "{}", refused.err);
    engine.run(&["volume", "rm", "vol"]);
    engine.run(&["container", "restore", "-i", text(&archive)]);
    assert_eq!(engine.inspect("c", "{{.Id}}"), id);
    engine.await_more("c");
    engine.assert_counts("c");
}

#[test]
fn archives_go_through_pipes_in_any_compression() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    for (compression, magic) in [
        ("gzip:1", &[0x1f, 0x8b][..]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
        ("none", b"artifacts/"),
    ] {
        engine.await_log("c", "3\n");
        let args = ["container", "checkpoint", "-R", "-c", compression, "-e", "-", "c"];
        let written = engine.command(&args).stdout(Stdio::piped()).output().unwrap();
        assert!(written.status.success() && written.stdout.starts_with(magic), "{compression}");
        let name = compression.split(':').next().unwrap();
        let mut restore = engine.command(&["container", "restore", "-i", "-", "-n", name]);
        let mut child = restore.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &written.stdout).unwrap();
        assert!(child.wait().unwrap().success(), "{compression}");
        engine.await_more(name);
        engine.assert_counts(name);
    }
    engine.assert_counts("c");
}

#[test]
fn one_checkpoint_lies_with_its_container() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    engine.run(&["container", "checkpoint", "c"]);
    assert_eq!(engine.inspect("c", "{{.State.Status}}"), "exited");
    engine.run(&["container", "restore", "--keep", "c"]);
    engine.await_more("c");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "checkpoint\n");
    let figures = engine.run(&["container", "checkpoint", "--all", "--print-stats"]);
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    let of_container = &figures["container_statistics"][0];
    assert!(figures["podman_checkpoint_duration"].as_u64().unwrap() > 0);
    assert!(of_container["criu_statistics"]["pages_written"].as_u64().unwrap() > 0, "{figures}");
    engine.run(&["container", "restore", "--latest"]);
    engine.await_more("c");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "", "it is used up");
    engine.assert_counts("c");
}

#[test]
fn going_back_takes_volumes_along() {
    let engine = Engine::new();
    let script =
        "i=0; while true; do i=$(expr $i + 1); echo $i > /data/n; echo $i; sleep 0.05; done";
    engine.start("c", &["-v", "vol:/data"], script);
    engine.await_log("c", "3\n");
    engine.run(&["checkpoint", "create", "c", "then"]);
    let data = engine.root().join("volumes/vol/_data/n");
    fs::write(&data, "999999").unwrap();
    engine.run(&["start", "--checkpoint", "then", "c"]);
    let number = || fs::read_to_string(&data).unwrap().trim().parse().unwrap_or(0);
    engine.eventually("the volume is that of then", || (1..900_000).contains(&number()));
}

fn refused(engine: &Engine, archive: &Path, expect: &str) {
    let before = fs::read_dir(engine.root().join("containers")).unwrap().count();
    let done = engine.try_run(&["container", "restore", "-i", text(archive), "-n", "new"]);
    assert_ne!(done.code, 0, "{expect}");
    assert!(done.err.contains(expect), "{expect}: {}", done.err);
    let after = fs::read_dir(engine.root().join("containers")).unwrap().count();
    assert_eq!(before, after, "{expect}: something is left");
}

#[test]
fn damaged_and_hostile_archives_are_refused_by_name() {
    let engine = Engine::new();
    let archive = exported(&engine, &["--compress", "none"]);
    let whole = fs::read(&archive).unwrap();
    let spoilt = engine.dir.path().join("spoilt.tar");
    let check = |bytes: &[u8], expect: &str| {
        fs::write(&spoilt, bytes).unwrap();
        refused(&engine, &spoilt, expect);
    };
    check(&whole[..whole.len() / 2], "ends too early");
    check(&vec![0; 1 << 20], "holds no checkpoint");
    check(b"", "ends too early");
    check(&b"garbage".repeat(200), "archive");
    let mut flipped = whole.clone();
    let pages = flipped.windows(22).position(|name| name == b"checkpoint/pages-1.img").unwrap();
    flipped[pages + 512 + 100] ^= 1;
    check(&flipped, "contents were changed");
    // An archive with a member that would lie outside, made by tar(1).
    let dir = engine.dir.path().join("hostile");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("evil"), "x").unwrap();
    for (member, expect) in [("s|^|../|", "has a .."), ("s|^|/|", "absolute")] {
        let mut tar = Command::new("tar");
        tar.arg("-cPf").arg(&spoilt).arg("--transform").arg(member).arg("-C").arg(&dir).arg("evil");
        assert!(tar.status().unwrap().success());
        refused(&engine, &spoilt, expect);
    }
    std::os::unix::fs::symlink("/etc", dir.join("link")).unwrap();
    let mut tar = Command::new("tar");
    assert!(
        tar.arg("-cf").arg(&spoilt).arg("-C").arg(&dir).arg("link").status().unwrap().success()
    );
    refused(&engine, &spoilt, "not a file");
}

#[test]
fn an_archive_of_podman_goes_on() {
    let engine = Engine::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/podman");
    let (image, archive) = (data.join("busybox-oci.tar"), data.join("counter.tar.zst"));
    fs::create_dir_all(engine.root().join("containers")).unwrap();
    refused(&engine, &archive, "image localhost/busybox:latest, which is not here");
    engine.run(&["load", "-i", text(&image)]);
    for name in ["one", "two"] {
        // Podman's bridge stands for ours, which this machine may not have.
        let args = ["container", "restore", "-i", text(&archive), "-n", name, "--network", "none"];
        engine.run(&args);
    }
    for name in ["one", "two"] {
        engine.eventually("it goes on", || engine.logs(name).lines().count() > 6);
        engine.assert_counts(name);
    }
    engine.run(&["container", "checkpoint", "one"]);
    engine.run(&["container", "restore", "one"]);
    engine.await_more("one");
    engine.assert_counts("one");
}

#[test]
fn another_host_says_no_with_all_reasons_before_anything_is_made() {
    let engine = Engine::new();
    let source = engine.dir.path().join("bound");
    fs::create_dir(&source).unwrap();
    let bind = format!("{}:/bound", source.display());
    engine.start("c", &["-v", &bind], COUNT);
    engine.await_log("c", "3\n");
    let archive = engine.dir.path().join("archive.tar");
    engine.run(&["container", "checkpoint", "c", "-c", "none", "-e", text(&archive)]);
    let restore = ["container", "restore", "-i", text(&archive), "-n", "new"];
    let try_restore = |more: &[&str]| engine.try_run(&[&restore[..], more].concat());
    let fit = try_restore(&["--dry-run"]);
    assert_eq!((fit.code, fit.out.as_str()), (0, "container c can be restored here\n"), "{fit:?}");
    fs::remove_dir(&source).unwrap();
    let unfit = try_restore(&["--dry-run"]);
    assert_eq!(unfit.code, 1, "{unfit:?}");
    assert!(unfit.out.contains("bound: it is mounted and is not here"), "{}", unfit.out);
    refused(&engine, &archive, "cannot restore here: 1 obstacle(s)");
    fs::create_dir(&source).unwrap();
    engine.run(&["container", "restore", "-i", text(&archive), "-n", "new"]);
    engine.await_more("new");
    // One that lies here already, and pretends to come from a better processor.
    engine.run(&["container", "checkpoint", "new"]);
    let mut checkpoints = fs::read_dir(engine.root().join("checkpoints")).unwrap().flatten();
    let dir = checkpoints.find(|entry| entry.path().is_dir()).unwrap().path();
    host_support::of_a_wonderful_processor(&dir.join("checkpoint"));
    let unfit = engine.try_run(&["container", "restore", "--dry-run", "new"]);
    assert_eq!(unfit.code, 1, "{unfit:?}");
    assert!(unfit.out.contains("it lacks what Wonder had"), "{unfit:?}");
    let reference = engine.run(&["checkpoint", "ls", "-q"]);
    let reference = reference.lines().next().unwrap();
    assert_eq!(engine.try_run(&["checkpoint", "check", reference]).code, 1);
    engine.run(&["checkpoint", "check", "--cpu-cap", "fpu", reference]);
    let forced = engine.try_run(&["container", "restore", "--dry-run", "--cpu-cap=none", "new"]);
    assert_eq!(forced.code, 0, "{forced:?}");
}
