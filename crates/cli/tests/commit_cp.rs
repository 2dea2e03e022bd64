//! Images of containers, and files into and out of them, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use container_support::Engine;
use stasis_oci::{ImageConfig, RunConfig};

fn words(text: &str) -> Option<Vec<String>> {
    Some(text.split(' ').map(str::to_owned).collect())
}

fn plain() -> RunConfig {
    RunConfig { env: vec!["PATH=/bin".into()], cmd: words("sh"), ..RunConfig::default() }
}

/// An engine with an image `box` and a container `c` of it that runs.
fn running(script: &str) -> Engine {
    let engine = Engine::new();
    engine.make_image("box", plain());
    engine.run(&[
        "run",
        "-d",
        "--name",
        "c",
        "box",
        "sh",
        "-c",
        &format!("{script}; echo ready; sleep 1000"),
    ]);
    engine.await_log("c", "ready");
    engine
}

fn config_of(engine: &Engine, name: &str) -> ImageConfig {
    engine.images().find(name).unwrap().config
}

#[test]
fn a_committed_container_is_an_image_with_one_more_layer() {
    let engine =
        running("echo new > /new; rm /etc/group; mkdir /root/d; mv /tmp /moved; ln /new /twin");
    let id = engine.run(&[
        "commit",
        "-p",
        "-a",
        "me",
        "-m",
        "first",
        "-c",
        "CMD [\"cat\", \"/new\"]",
        "-c",
        "ENV A=1",
        "-c",
        "EXPOSE 80",
        "c",
        "container-backup",
    ]);
    assert!(id.starts_with("sha256:") && id.trim().len() == 71, "{id}");
    assert_eq!(engine.inspect("c", "{{.State.Status}}"), "running");
    let config = config_of(&engine, "container-backup");
    assert_eq!(config.config.cmd, words("cat /new"));
    assert_eq!(config.config.env, ["PATH=/bin", "A=1"]);
    assert_eq!((config.rootfs.diff_ids.len(), config.history.len()), (2, 1));
    let step = &config.history[0];
    assert_eq!(
        (step.author.as_str(), step.comment.as_str(), step.empty_layer),
        ("me", "first", false)
    );
    assert_eq!(engine.run(&["run", "--rm", "container-backup"]), "new\n");
    let script = "ls /etc/group /tmp 2>&1; ls -d /root/d /moved; stat -c %h /new; cat /etc/hosts | head -c 3";
    let seen = engine.try_run(&["run", "--rm", "container-backup", "sh", "-c", script]);
    assert_eq!(seen.out.matches("No such file").count(), 2, "{seen:?}");
    assert!(seen.out.ends_with("/moved\n/root/d\n2\n127"), "{seen:?}");
    // What is mounted in a container does not belong to it.
    let top = &engine
        .images()
        .lower_dirs(&engine.images().find("container-backup").unwrap(), &mut stasis_store::Silent)
        .unwrap()[0];
    let names: Vec<_> =
        fs::read_dir(top.join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["group"], "only the whiteout");
    engine.run(&["kill", "c"]);
    let again = engine.run(&["commit", "-q", "--pause=false", "c", "again:tag"]);
    let layers = |name: &str| config_of(&engine, name).rootfs.diff_ids;
    assert_eq!(
        layers("again:tag"),
        layers("container-backup"),
        "the same content, the same digest"
    );
    assert!(engine.images().find(again.trim()).is_ok());
}

#[test]
fn commit_of_what_changed_nothing_and_of_directories() {
    let engine = Engine::new();
    engine.make_image("box", plain());
    engine.run(&["create", "--name", "c", "--label", "a=b", "-u", "7", "-w", "/w", "box", "true"]);
    engine.run(&["commit", "c", "same"]);
    let config = config_of(&engine, "same");
    assert_eq!((config.rootfs.diff_ids.len(), config.history[0].empty_layer), (1, true));
    assert_eq!((config.config.user.as_str(), config.config.working_dir.as_str()), ("7", "/w"));
    assert_eq!(config.config.labels, BTreeMap::from([("a".into(), "b".into())]));
    let rootfs = format!("{}:O", engine.busybox().display());
    engine.run(&[
        "run",
        "--name",
        "d",
        "--rootfs",
        &rootfs,
        "sh",
        "-c",
        "echo x > /x; rm /etc/group",
    ]);
    engine.run(&["commit", "-c", "ENV PATH=/bin", "d", "whole"]);
    assert_eq!(config_of(&engine, "whole").rootfs.diff_ids.len(), 1);
    let seen = engine.try_run(&["run", "--rm", "whole", "sh", "-c", "cat /x; ls /etc"]);
    assert_eq!(seen.out, "x\nhostname\nhosts\npasswd\nresolv.conf\n", "{seen:?}");
    engine.run(&["create", "--name", "h", "--rootfs", "/:O", "true"]);
    let refused = engine.try_run(&["commit", "h", "never"]);
    assert!(refused.err.contains("would hold itself"), "{refused:?}");
    let wrong = engine.try_run(&["commit", "-c", "RUN x", "c", "never"]);
    assert!(wrong.err.contains("cannot follow --change \"RUN x\""), "{wrong:?}");
    assert!(engine.images().find("never").is_err());
}

#[test]
fn a_commit_pauses_for_the_instant_and_leaves_nobody_frozen() {
    let engine =
        running("i=0; (while true; do i=$((i + 1)); echo $i > /a; echo $i > /b; done) & true");
    for round in 0..5 {
        let name = format!("r{round}");
        engine.run(&["commit", "c", &name]);
        let image = engine.images().find(&name).unwrap();
        let top = &engine.images().lower_dirs(&image, &mut stasis_store::Silent).unwrap()[0];
        let number = |name: &str| -> i64 {
            // Between two writes a file may be empty.
            fs::read_to_string(top.join(name)).unwrap().trim().parse().unwrap_or(-1)
        };
        let (a, b) = (number("a"), number("b"));
        assert!(a < 0 || b < 0 || (a - b).abs() <= 1, "{a} {b}");
    }
    let before = engine.run(&["exec", "c", "cat", "/b"]);
    engine.eventually("it runs on", || engine.run(&["exec", "c", "cat", "/b"]) != before);
    // Killed in the middle it leaves nobody frozen either: the monitor sees to that.
    for wait in [5, 15, 30] {
        let mut child = engine
            .command(&["commit", "c", "cut"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let before = engine.run(&["exec", "c", "cat", "/a"]);
        engine.eventually("it runs on", || engine.run(&["exec", "c", "cat", "/a"]) != before);
    }
    engine.run(&["pause", "c"]);
    engine.run(&["commit", "c", "paused"]);
    assert_eq!(engine.inspect("c", "{{.State.Status}}"), "paused");
}

#[test]
fn changes_are_told_as_by_docker() {
    let engine = running(
        "echo x >> /etc/passwd; rm /etc/group; mkdir /new; echo x > /new/file; rm -r /root; mkdir /root;
         echo gone > /tmp/gone; rm /tmp/gone; mkdir /w",
    );
    let expect =
        "C /etc\nD /etc/group\nC /etc/passwd\nA /new\nA /new/file\nC /root\nC /tmp\nA /w\n";
    assert_eq!(engine.run(&["diff", "c"]), expect);
    engine.run(&["kill", "c"]);
    assert_eq!(engine.run(&["container", "diff", "c"]), expect);
    engine.run(&["create", "--name", "fresh", "box", "true"]);
    assert_eq!(engine.run(&["diff", "fresh"]), "");
    let direct = engine.busybox().display().to_string();
    engine.run(&["create", "--name", "direct", "--rootfs", &direct, "true"]);
    assert!(engine.try_run(&["diff", "direct"]).err.contains("nothing to compare"));
}

/// Each of these in a container that runs and in one that does not.
fn both(check: impl Fn(&Engine, &str)) {
    let engine = running(
        "mkdir -p /dir/inner; echo one > /dir/file; ln -s /dir/file /link; ln -s dir /dirlink; ln -s /nowhere /dangling",
    );
    check(&engine, "c");
    engine.run(&["kill", "c"]);
    check(&engine, "c");
}

#[test]
fn files_come_out() {
    both(|engine, c| {
        let out = tempfile::tempdir().unwrap();
        let at = |path: &str| out.path().join(path);
        let cp = |from: &str, to: &str| {
            engine.try_run(&["cp", &format!("{c}:{from}"), at(to).to_str().unwrap()])
        };
        let good = |from: &str, to: &str| assert_eq!(cp(from, to).code, 0, "{:?}", cp(from, to));
        let bad = |from: &str, to: &str, why: &str| {
            let done = cp(from, to);
            assert!(done.code == 1 && done.err.contains(why), "{from} {to}: {done:?}");
        };
        good("/dir/file", "renamed");
        assert_eq!(fs::read_to_string(at("renamed")).unwrap(), "one\n");
        fs::create_dir(at("d")).unwrap();
        good("/dir/file", "d");
        good("dir/file", "d/");
        assert!(at("d/file").is_file());
        good("/dir", "fresh");
        assert!(at("fresh/file").is_file() && at("fresh/inner").is_dir());
        good("/dir", "d");
        assert!(at("d/dir/inner").is_dir());
        good("/dir/.", "d");
        assert!(at("d/inner").is_dir());
        good("/link", "link");
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/dir/file"));
        good("/dirlink/", "followed");
        assert!(at("followed/file").is_file());
        let follow =
            engine.try_run(&["cp", "-L", &format!("{c}:/link"), at("content").to_str().unwrap()]);
        assert_eq!(
            (follow.code, fs::read_to_string(at("content")).unwrap().as_str()),
            (0, "one\n")
        );
        bad("/nothing", "x", "there is no /nothing");
        bad("/dir/file", "absent/", "is not there");
        bad("/dir/file", "absent/x", "cannot open");
        bad("/dir", "renamed", "is not a directory");
        bad("/dir/file/", "x", "is not a directory");
        let tar = engine
            .command(&["cp", &format!("{c}:/dir"), "-"])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let mut list = Command::new("tar")
            .arg("-t")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        list.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        let listed = String::from_utf8(list.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(listed, "dir/\ndir/file\ndir/inner/\n");
    });
}

#[test]
fn files_go_in() {
    both(|engine, c| {
        let host = tempfile::tempdir().unwrap();
        let at = |path: &str| host.path().join(path).display().to_string();
        fs::create_dir_all(at("tree/inner")).unwrap();
        fs::write(at("tree/file"), "from the host").unwrap();
        fs::set_permissions(at("tree/file"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(at("tree/file"), Some(1234), Some(99)).unwrap();
        xattr::set(at("tree/file"), "user.color", b"blue").unwrap();
        let inside = |path: &str| format!("{c}:{path}");
        let out = |path: &str| {
            let copy = tempfile::tempdir().unwrap();
            engine.run(&["cp", "-a", &inside(path), copy.path().join("x").to_str().unwrap()]);
            let meta = fs::symlink_metadata(copy.path().join("x")).unwrap();
            let color = xattr::get(copy.path().join("x"), "user.color").unwrap();
            (fs::read_to_string(copy.path().join("x")).unwrap_or_default(), meta, color)
        };
        engine.run(&["cp", &at("tree/file"), &inside("/plain")]);
        let (text, meta, color) = out("/plain");
        assert_eq!(
            (text.as_str(), meta.mode() & 0o777, meta.uid(), meta.gid()),
            ("from the host", 0o640, 0, 0)
        );
        assert_eq!(color.unwrap(), b"blue");
        engine.run(&["cp", "-a", &at("tree/file"), &inside("/owned")]);
        assert_eq!((out("/owned").1.uid(), out("/owned").1.gid()), (1234, 99));
        engine.run(&["cp", &at("tree"), &inside("/dir")]);
        engine.run(&["cp", &format!("{}/.", at("tree")), &inside("/dir")]);
        assert_eq!(
            (out("/dir/tree/file").0, out("/dir/file").0),
            ("from the host".into(), "from the host".into())
        );
        engine.run(&["cp", &at("tree"), &inside("new")]);
        assert!(out("/new/inner").1.is_dir());
        // A link as target is followed, inside the container.
        engine.run(&["cp", &at("tree/file"), &inside("/dangling")]);
        assert_eq!(out("/nowhere").0, "from the host");
        let refused = engine.try_run(&["cp", &at("tree"), &inside("/dir/file")]);
        assert!(refused.err.contains("is not a directory"), "{refused:?}");
        let refused = engine.try_run(&["cp", &at("tree/file"), &inside("/absent/")]);
        assert!(refused.err.contains("is not there"), "{refused:?}");
        let tar = Command::new("tar").args(["-C", &at("tree"), "-c", "."]).output().unwrap();
        let mut child = engine
            .command(&["cp", "-", &inside("/dir/inner")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(out("/dir/inner/file").0, "from the host");
        engine.run(&["cp", &at("tree/file"), &inside("/dangling")]);
    });
    let engine = Engine::new();
    for wrong in [["a", "b"], ["x:/a", "y:/b"], ["-", "/tmp"]] {
        assert_eq!(engine.try_run(&["cp", wrong[0], wrong[1]]).code, 1, "{wrong:?}");
    }
}

#[test]
fn copies_go_to_volumes_and_never_out_of_the_container() {
    let engine = Engine::new();
    engine.make_image("box", plain());
    let secret = engine.dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "of the host").unwrap();
    let script = format!(
        "ln -s {0} /out; ln -s ../../../../../../../..{0} /up; mkdir /etc/made; echo ready; sleep 1000",
        secret.display()
    );
    engine.run(&["run", "-d", "--name", "c", "-v", "data:/data", "box", "sh", "-c", &script]);
    engine.await_log("c", "ready");
    let host = tempfile::tempdir().unwrap();
    let at = |path: &str| host.path().join(path).display().to_string();
    fs::write(at("file"), "copied").unwrap();
    let check = || {
        engine.run(&["cp", &at("file"), "c:/data"]);
        let volume = engine.root().join("volumes/data/_data/file");
        assert_eq!(fs::read_to_string(&volume).unwrap(), "copied");
        fs::remove_file(volume).unwrap();
        for link in ["/out", "/up"] {
            let stolen = engine.try_run(&["cp", &format!("c:{link}/key"), &at("stolen")]);
            assert_ne!(stolen.code, 0, "{link}");
            assert_ne!(engine.try_run(&["cp", &at("file"), &format!("c:{link}/planted")]).code, 0);
        }
        assert!(!Path::new(&at("stolen")).exists());
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
        assert!(!engine.root().join("volumes/data/_data/etc").exists());
    };
    check();
    engine.run(&["kill", "c"]);
    check();
    // In an archive from outside the same: members through links are refused.
    fs::create_dir(at("evil")).unwrap();
    symlink(&secret, format!("{}/l", at("evil"))).unwrap();
    let pack = |path: &str, from: &str| {
        Command::new("tar")
            .args(["-C", from, "--transform", &format!("s,file,{path},"), "-cP", "file"])
            .output()
            .unwrap()
            .stdout
    };
    for path in ["../planted", "/planted", "up/planted"] {
        let mut child = engine
            .command(&["cp", "-", "c:/"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(&pack(path, host.path().to_str().unwrap()));
        assert!(!child.wait().unwrap().success(), "{path}");
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    engine.run(&["rm", "c"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn export_is_the_whole_root_without_volumes() {
    let engine = Engine::new();
    engine.make_image("box", plain());
    let script = "echo x > /data/inside; echo new > /new; rm /etc/group; echo ready; sleep 1000";
    engine.run(&["run", "-d", "--name", "c", "-v", "/data", "box", "sh", "-c", script]);
    engine.await_log("c", "ready");
    let check = || {
        let tar = engine.dir.path().join("export.tar");
        engine.run(&["export", "-o", tar.to_str().unwrap(), "c"]);
        let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let has = |name: &str| listed.lines().any(|line| line == name);
        assert!(has("new") && has("bin/busybox") && has("data/") && has("proc/"), "{listed}");
        assert!(!has("data/inside") && !has("etc/group"), "{listed}");
        let piped = engine.command(&["export", "c"]).stdout(Stdio::piped()).output().unwrap();
        assert!(piped.stdout == fs::read(&tar).unwrap());
        assert_eq!(
            fs::read_dir(engine.dir.path())
                .unwrap()
                .flatten()
                .filter(|e| e.file_name().to_string_lossy().contains(".new-"))
                .count(),
            0
        );
    };
    check();
    engine.run(&["kill", "c"]);
    check();
}

#[test]
fn rename_update_and_prune() {
    let engine = running("true");
    engine.run(&["create", "--name", "other", "--label", "keep=1", "box", "true"]);
    assert!(engine.try_run(&["rename", "c", "other"]).err.contains("already in use"));
    engine.run(&["rename", "c", "fresh"]);
    assert_eq!(engine.run(&["exec", "fresh", "echo", "in"]), "in\n");
    // Not by `inspect c`, which is also the beginning of many an id.
    let names = engine.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert!(names.lines().all(|name| name != "c"), "{names}");
    engine.run(&[
        "update",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--cpus",
        "0.5",
        "--restart",
        "on-failure:2",
        "fresh",
    ]);
    let host = |field: &str| engine.inspect("fresh", &format!("{{{{.HostConfig.{field}}}}}"));
    assert_eq!(
        (host("Memory"), host("PidsLimit"), host("NanoCpus")),
        ("67108864".into(), "50".into(), "500000000".into())
    );
    let script =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null;
        cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true";
    assert_eq!(engine.run(&["exec", "fresh", "sh", "-c", script]), "67108864\n50\n");
    assert_eq!(engine.try_run(&["update", "fresh"]).code, 1);
    // The new policy counts for the run that is under way.
    let init: i32 = engine.inspect("fresh", "{{.State.Pid}}").parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(init).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    engine.eventually("it starts again", || {
        engine.inspect("fresh", "{{.RestartCount}} {{.State.Status}}") == "1 running"
    });
    engine.run(&["create", "--name", "old", "box", "true"]);
    let old = engine.inspect("old", "{{.Id}}");
    let asked = engine.run_with_input(&["container", "prune"], "n\n");
    assert!(asked.out.contains("[y/N]"), "{asked:?}");
    let pruned = engine.run(&["container", "prune", "-f", "--filter", "label!=keep"]);
    assert!(pruned.contains(&old) && pruned.contains("Total reclaimed space: "), "{pruned}");
    let names = engine.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(names, "other\nfresh\n");
}

/// The way people move a container today, as it is typed.
#[test]
fn a_container_moves_as_an_image() {
    let engine = running("echo kept > /kept");
    let short = engine.run(&["ps", "-q"]).trim().to_owned();
    engine.run(&["commit", "-p", &short, "container-backup"]);
    assert!(engine.run(&["images"]).contains("container-backup"));
    let id = engine.run(&["images", "-q", "container-backup"]).trim().to_owned();
    engine.run(&["tag", &id, "registry.example/me/container-backup:test"]);
    let archive = engine.dir.path().join("container-backup.tar");
    engine.run(&["save", "-o", archive.to_str().unwrap(), "container-backup"]);
    let elsewhere = Engine::new();
    let loaded = elsewhere.run(&["load", "-i", archive.to_str().unwrap()]);
    assert!(loaded.contains("Loaded image: container-backup:latest"), "{loaded}");
    assert_eq!(elsewhere.run(&["images", "-q", "container-backup"]).trim(), id);
    elsewhere.run(&["run", "-d", "--name", "moved", "container-backup"]);
    assert_eq!(elsewhere.run(&["exec", "moved", "cat", "/kept"]), "kept\n");
    let refused = elsewhere.try_run(&["rmi", "container-backup"]);
    assert!(refused.code == 1 && refused.err.contains("container moved runs on it"), "{refused:?}");
}
