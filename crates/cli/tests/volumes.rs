//! Volumes through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};

use container_support::{Done, Engine};

/// Runs a shell script in a container of its own, which is gone afterwards.
fn shell(engine: &Engine, options: &[&str], script: &str) -> Done {
    let rootfs = format!("{}:O", engine.busybox().display());
    let run = ["run", "--rm", "--rootfs", &rootfs];
    engine.try_run(&[&run, options, &["sh", "-c", script]].concat())
}

/// Makes a container that does not run.
fn create(engine: &Engine, name: &str, options: &[&str], command: &[&str]) {
    let rootfs = format!("{}:O", engine.busybox().display());
    let create = ["create", "--name", name, "--rootfs", &rootfs];
    engine.run(&[&create, options, command].concat());
}

fn data(engine: &Engine, name: &str) -> PathBuf {
    let dir = engine.root().join("volumes").join(name).join("_data");
    assert_eq!(
        engine.run(&["volume", "inspect", "-f", "{{.Mountpoint}}", name]).trim(),
        dir.to_str().unwrap()
    );
    dir
}

fn names(engine: &Engine) -> Vec<String> {
    engine.run(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_volume_outlives_its_containers_and_is_shared() {
    let engine = Engine::new();
    assert_eq!(engine.run(&["volume", "create", "data"]), "data\n");
    assert_eq!(engine.run(&["volume", "create", "data"]), "data\n", "again is fine");
    let done = shell(&engine, &["-v", "data:/data"], "echo one > /data/file");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(shell(&engine, &["-v", "data:/other"], "cat /other/file").out, "one\n");
    let read_only = shell(&engine, &["-v", "data:/data:ro"], "echo two > /data/file");
    assert!(read_only.err.contains("Read-only"), "{read_only:?}");
    let mount = "type=volume,src=data,dst=/data,readonly";
    let read_only = shell(&engine, &["--mount", mount], "echo two > /data/file");
    assert!(read_only.err.contains("Read-only"), "{read_only:?}");
    assert_eq!(fs::read_to_string(data(&engine, "data").join("file")).unwrap(), "one\n");
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let engine = Engine::new();
    create(&engine, "user", &["-v", "data:/data"], &["true"]);
    let refused = engine.try_run(&["volume", "rm", "data"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("volume data is in use by user"), "{}", refused.err);
    assert_eq!(engine.run(&["volume", "ls", "-q", "-f", "dangling=true"]), "");
    assert_eq!(engine.run(&["ps", "-aq", "-f", "volume=data"]).lines().count(), 1);
    engine.run(&["rm", "-v", "user"]);
    assert_eq!(names(&engine), ["data"], "rm -v leaves what has a name");
    assert_eq!(engine.run(&["volume", "ls", "-q", "-f", "dangling=true"]), "data\n");
    assert_eq!(engine.run(&["volume", "rm", "data"]), "data\n");
    assert_eq!(engine.try_run(&["volume", "rm", "data"]).code, 1);
    assert_eq!(engine.run(&["volume", "rm", "-f", "data"]), "data\n");
    for wrong in ["a/b", "..", "x", "-x"] {
        assert_ne!(engine.try_run(&["volume", "create", "--", wrong]).code, 0, "{wrong}");
    }
}

#[test]
fn anonymous_volumes_go_with_their_container_when_asked() {
    let engine = Engine::new();
    create(&engine, "keeps", &["-v", "/data"], &["true"]);
    let kept = names(&engine)[0].clone();
    assert!(engine.inspect("keeps", "{{json .Mounts}}").contains(&kept));
    engine.run(&["rm", "keeps"]);
    assert_eq!(names(&engine), std::slice::from_ref(&kept));
    create(&engine, "removes", &["-v", "/data"], &["true"]);
    assert_eq!(names(&engine).len(), 2);
    engine.run(&["rm", "-v", "removes"]);
    assert_eq!(shell(&engine, &["-v", "/data"], "touch /data/x").code, 0);
    assert_eq!(names(&engine), std::slice::from_ref(&kept), "--rm removes its own");
    engine.run(&["volume", "create", "named"]);
    let pruned = engine.run(&["volume", "prune", "-f"]);
    assert!(pruned.contains(&kept) && pruned.contains("Total reclaimed space: 0B"), "{pruned}");
    assert_eq!(names(&engine), ["named"]);
    let asked = engine.run_with_input(&["volume", "prune", "-a"], "n\n");
    assert!(asked.out.contains("[y/N]"), "{asked:?}");
    assert_eq!(names(&engine), ["named"]);
    engine.run(&["volume", "prune", "-a", "-f"]);
    assert!(names(&engine).is_empty());
}

#[test]
fn an_empty_volume_gets_what_the_root_file_system_has() {
    let engine = Engine::new();
    let root = engine.busybox();
    let dir = root.join("data/inner");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), "from the root").unwrap();
    fs::hard_link(dir.join("file"), dir.join("twin")).unwrap();
    symlink("file", dir.join("link")).unwrap();
    xattr::set(dir.join("file"), "user.color", b"blue").unwrap();
    std::os::unix::fs::chown(root.join("data"), Some(1234), Some(99)).unwrap();
    fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o2750)).unwrap();
    // Filled when the container is made.
    create(&engine, "first", &["-v", "data:/data"], &["true"]);
    let data = data(&engine, "data");
    let top = fs::metadata(&data).unwrap();
    assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (1234, 99, 0o2750));
    let meta = |name: &str| fs::symlink_metadata(data.join("inner").join(name)).unwrap();
    assert_eq!(meta("file").ino(), meta("twin").ino());
    assert!(meta("link").is_symlink());
    assert_eq!(xattr::get(data.join("inner/file"), "user.color").unwrap().unwrap(), b"blue");
    // Once only: what the user removes stays away.
    fs::remove_dir_all(data.join("inner")).unwrap();
    fs::write(data.join("mine"), "").unwrap();
    assert_eq!(shell(&engine, &["-v", "data:/data"], "ls /data").out, "mine\n");
    assert_eq!(shell(&engine, &["-v", "other:/data:nocopy"], "ls /data").out, "");
    let mount = "type=volume,src=third,dst=/data,volume-nocopy";
    assert_eq!(shell(&engine, &["--mount", mount], "ls /data").out, "");
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    let engine = Engine::new();
    let root = engine.busybox();
    let secret = engine.dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "").unwrap();
    symlink(&secret, root.join("data")).unwrap();
    symlink("../../../../../../..", root.join("up")).unwrap();
    let below = format!("/up{}", secret.display());
    // Inside the root these places do not exist: there is nothing to fill from.
    assert_eq!(shell(&engine, &["-v", "one:/data"], "ls /data").out, "");
    assert_eq!(shell(&engine, &["-v", &format!("two:{below}")], &format!("ls {below}")).out, "");
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
}

#[test]
fn volumes_of_another_container() {
    let engine = Engine::new();
    let host = engine.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    let bound = format!("{}:/host", host.display());
    create(
        &engine,
        "store",
        &["-v", "/data", "-v", "named:/named", "-v", &bound, "--tmpfs", "/tmp"],
        &["true"],
    );
    let script = "touch /data/x /named/x /host/x; ls -d /data/x /named/x; mount | grep -c ' /tmp '";
    let done = shell(&engine, &["--volumes-from", "store"], script);
    assert_eq!(done.out, "/data/x\n/named/x\n0\n", "{done:?}");
    assert!(host.join("x").exists());
    assert_eq!(names(&engine).len(), 2, "--rm leaves what the other container has");
    let done = shell(&engine, &["--volumes-from", "store:ro"], "touch /data/y; ls /data");
    assert!(done.err.contains("Read-only"), "{done:?}");
    assert_eq!(done.out, "x\n");
    assert_eq!(shell(&engine, &["--volumes-from", "nobody"], "true").code, 125);
}

#[test]
fn options_are_mounted_while_somebody_uses_them() {
    let engine = Engine::new();
    let host = engine.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    let device = format!("device={}", host.display());
    engine.run(&["volume", "create", "-o", "type=none", "-o", &device, "-o", "o=bind", "bound"]);
    assert_eq!(shell(&engine, &["-v", "bound:/b:nocopy"], "touch /b/x").code, 0);
    assert!(host.join("x").exists());
    let memory = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=0711"];
    engine.run(&[&["volume", "create"], memory.as_slice(), &["memory"]].concat());
    let rootfs = format!("{}:O", engine.busybox().display());
    let script = "echo here > /m/file; echo ready; sleep 1000";
    let run = ["run", "-d", "--name", "holds", "--rootfs", &rootfs, "-v", "memory:/m"];
    engine.run(&[&run[..], &["sh", "-c", script]].concat());
    engine.await_log("holds", "ready");
    let seen =
        shell(&engine, &["-v", "memory:/m"], "cat /m/file; stat -c %a /m; df -k /m | tail -1");
    assert!(seen.out.starts_with("here\n711\ntmpfs                     1024 "), "{seen:?}");
    engine.run(&["kill", "holds"]);
    engine.run(&["rm", "holds"]);
    assert_eq!(fs::read_dir(data(&engine, "memory")).unwrap().count(), 0);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
    let wrong = engine.try_run(&["volume", "create", "-o", "size=3", "wrong"]);
    assert!(wrong.err.contains("has no option \"size\""), "{wrong:?}");
}

#[test]
fn lists_and_filters() {
    let engine = Engine::new();
    engine.run(&["volume", "create", "--label", "tier=front", "web"]);
    engine.run(&["volume", "create", "base"]);
    assert_eq!(
        engine.run(&["volume", "ls"]),
        "DRIVER   VOLUME NAME\nlocal    base\nlocal    web\n"
    );
    let only = |filter: &str| engine.run(&["volume", "ls", "-q", "--filter", filter]);
    assert_eq!(only("label=tier"), "web\n");
    assert_eq!(only("label=tier=back"), "");
    assert_eq!(only("name=as"), "base\n");
    assert_eq!(
        engine.run(&["volume", "ls", "--format", "{{.Name}}:{{.Labels}}"]),
        "base:\nweb:tier=front\n"
    );
    let shown: serde_json::Value =
        serde_json::from_str(&engine.run(&["volume", "inspect", "web"])).unwrap();
    assert_eq!(shown[0]["Labels"]["tier"], "front");
    assert_eq!(shown[0]["Scope"], "local");
    let unknown = engine.try_run(&["volume", "inspect", "nothing"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, "[]\n"));
    assert!(unknown.err.contains("no such volume: nothing"), "{}", unknown.err);
    engine.run(&["volume", "prune", "-af", "--filter", "label!=tier"]);
    assert_eq!(names(&engine), ["web"]);
}
