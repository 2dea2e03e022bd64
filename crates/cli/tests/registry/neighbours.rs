//! skopeo and podman read from the registry what we push, and we pull what they push.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    container_support::finish,
    registry_support::{
        Registry,
        image::{Form, Image, Kind},
    },
    user::User,
};

const FILES: &[&[(&str, &[u8])]] = &[&[("a", b"1")], &[("b", b"2")]];

fn run(command: &mut Command) -> String {
    let done = finish(command.stdin(Stdio::null()), |_| ());
    assert_eq!(done.code, 0, "{command:?}: {done:?}");
    done.out
}

fn skopeo(args: &[&str]) -> String {
    run(Command::new("skopeo").arg("--insecure-policy").args(args))
}

/// Keeps everything below a directory of ours.
fn podman(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("podman");
    command.arg("--root").arg(dir.join("podman-root"));
    command
        .arg("--runroot")
        .arg(dir.join("podman-run"))
        .arg("--tmpdir")
        .arg(dir.join("podman-tmp"));
    // The file system of the test may be an overlay itself.
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]).args(args);
    run(command.env("HOME", dir).env("XDG_RUNTIME_DIR", dir))
}

#[test]
fn they_read_what_we_push() {
    let (user, registry) = (User::new(), Registry::open());
    let dir = user.engine.dir.path().to_owned();
    for (kind, tag) in [(Kind::Oci, "oci"), (Kind::Docker, "docker")] {
        let plain = Image::new(kind, Form::Plain, FILES);
        plain.put(registry.port(), "me/plain", tag);
        let (old, new) = (
            format!("{}/me/plain:{tag}", registry.name()),
            format!("{}/me/app:{tag}", registry.name()),
        );
        user.run(&["pull", "-q", &old]);
        user.run(&["tag", &old, &new]);
        user.run(&["push", "-q", &new]);
        let copy = format!("dir:{}", dir.join(tag).display());
        // It verifies all digests on the way.
        skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{new}"), &copy]);
        podman(&dir, &["pull", "-q", "--tls-verify=false", &new]);
        let layers = podman(&dir, &["inspect", "--format", "{{len .RootFS.Layers}}", &new]);
        assert_eq!(layers.trim(), "2");
    }
}

#[test]
fn we_read_what_they_push() {
    let (user, registry) = (User::new(), Registry::open());
    let dir = user.engine.dir.path().to_owned();
    let image = Image::new(Kind::Oci, Form::Gzip, FILES);
    image.put(registry.port(), "me/app", "1");
    let from = format!("{}/me/app:1", registry.name());
    let source = format!("docker://{from}");
    for format in ["oci", "v2s2"] {
        let to = format!("{}/skopeo/app:{format}", registry.name());
        let target = format!("docker://{to}");
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&["copy", "--format", format, tls[0], tls[1], &source, &target]);
        user.run(&["pull", "-q", &to]);
    }
    let to = format!("{}/podman/app:1", registry.name());
    podman(&dir, &["pull", "-q", "--tls-verify=false", &from]);
    podman(&dir, &["push", "-q", "--tls-verify=false", &from, &to]);
    user.run(&["pull", "-q", &to]);
    assert!(user.layers(&image)[1].join("b").exists(), "all of them are the same image");
}
