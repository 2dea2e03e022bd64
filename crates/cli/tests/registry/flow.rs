//! The way of a container through a registry to another machine, as it is typed.

use std::{fs, path::PathBuf};

use crate::{
    registry_support::{
        PASSWORD, Registry,
        image::{Form, Image, Kind},
    },
    user::User,
};

const COUNT: &str =
    "#!/bin/sh\ni=0\nwhile true; do echo $i | tee /data/count; i=$((i + 1)); sleep 0.1; done\n";
const DOCKERFILE: &str =
    "FROM scratch\nCOPY busybox /\nADD run.sh /\nVOLUME /data\nCMD [\"/run.sh\"]\n";

/// A directory to build the counter from.
fn context(user: &User) -> PathBuf {
    let dir = user.engine.dir.path().join("context");
    fs::create_dir(&dir).unwrap();
    fs::rename(user.engine.busybox(), dir.join("busybox")).unwrap();
    fs::write(dir.join("run.sh"), COUNT).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.join("run.sh"), executable).unwrap();
    fs::write(dir.join("Dockerfile"), DOCKERFILE).unwrap();
    dir
}

fn id_of(user: &User, name: &str) -> String {
    user.run(&["images", "-q", "--no-trunc", name]).trim().to_owned()
}

/// Builds an image, runs it, commits the container, and takes it elsewhere by registry and archive.
fn from_here_to_elsewhere(registry: &Registry, login: impl Fn(&User)) {
    let (here, elsewhere) = (User::new(), User::new());
    let context = context(&here);
    here.run(&["build", context.to_str().unwrap(), "--tag", "counter"]);
    assert_eq!(here.run(&["history", "-q", "counter"]).lines().count(), 4);
    here.run(&["run", "-d", "--network", "none", "--name", "c", "counter"]);
    here.engine.await_log("c", "3\n");
    here.run(&["exec", "c", "touch", "/marked"]);
    here.run(&["commit", "-p", "c", "container-backup"]);
    let id = id_of(&here, "container-backup");
    login(&here);
    let name = format!("{}/me/container-backup:test", registry.name());
    here.run(&["tag", &id, &name]);
    here.run(&["push", &name]);
    let archive = here.engine.dir.path().join("container-backup.tar");
    here.run(&["save", "-o", archive.to_str().unwrap(), "container-backup"]);

    login(&elsewhere);
    elsewhere.run(&["pull", &name]);
    elsewhere.run(&["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(id_of(&elsewhere, &name), id);
    assert_eq!(id_of(&elsewhere, "container-backup"), id);
    for image in [&name, "container-backup"] {
        elsewhere.run(&["run", "--rm", "--network", "none", image, "ls", "/marked"]);
        elsewhere.run(&["run", "-d", "--network", "none", "--name", "c", image]);
        elsewhere.engine.await_log("c", "3\n");
        elsewhere.run(&["rm", "-f", "-v", "c", "new"]);
    }
}

#[test]
fn a_container_goes_through_a_registry() {
    from_here_to_elsewhere(&Registry::open(), |_| ());
}

#[test]
fn a_container_goes_through_a_registry_with_password() {
    let registry = Registry::with_password();
    from_here_to_elsewhere(&registry, |user| {
        assert_eq!(user.login(&registry.name(), PASSWORD).code, 0);
    });
}

#[test]
fn run_pulls_what_is_missing_and_what_is_always_wanted() {
    let (user, registry) = (User::new(), Registry::open());
    let busybox = fs::read("/bin/busybox").unwrap();
    let image = |text: &[u8]| {
        let files: &[(&str, &[u8])] = &[("bin/cat", &busybox), ("text", text)];
        Image::new(Kind::Oci, Form::Gzip, &[files])
    };
    image(b"old").put(registry.port(), "me/app", "latest");
    let name = format!("{}/me/app", registry.name());
    let run = |policy: &str| {
        let pull = format!("--pull={policy}");
        user.try_run(&["run", "--rm", "--network", "none", &pull, &name, "cat", "/text"])
    };
    let never = run("never");
    assert_eq!(never.code, 125);
    assert!(never.err.contains("no such image"), "{}", never.err);
    let missing = run("missing");
    assert_eq!(missing.out, "old", "{missing:?}");
    assert!(missing.err.contains("Unable to find image"), "{}", missing.err);
    image(b"new").put(registry.port(), "me/app", "latest");
    assert_eq!(run("missing").out, "old");
    assert_eq!(run("always").out, "new");
    assert_eq!(run("never").out, "new");
    let gone = user.try_run(&["run", "--network", "none", &format!("{name}:none")]);
    assert_eq!(gone.code, 125);
    assert!(gone.err.contains("manifest unknown"), "{}", gone.err);
}

#[test]
fn a_checkpoint_brings_its_image_from_the_registry() {
    let registry = Registry::open();
    let (here, elsewhere) = (User::new(), User::new());
    let context = context(&here);
    let name = format!("{}/me/counter:1", registry.name());
    here.run(&["build", context.to_str().unwrap(), "--tag", &name]);
    here.run(&["push", &name]);
    here.run(&["run", "-d", "--network", "none", "--name", "c", &name]);
    here.engine.await_log("c", "3\n");
    let archive = here.engine.dir.path().join("c.tar");
    let archive = archive.to_str().unwrap();
    here.run(&["container", "checkpoint", "c", "-e", archive]);
    let restore = ["container", "restore", "-i", archive];
    let told = elsewhere.try_run(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.out.contains(&format!("image {name}: ")), "{}", told.out);
    let refused = elsewhere.try_run(&[&restore[..], &["--pull", "never"]].concat());
    assert!(refused.err.contains("cannot restore here"), "{}", refused.err);
    elsewhere.run(&restore);
    elsewhere.engine.await_more("c");
    elsewhere.engine.assert_counts("c");
    assert_eq!(id_of(&elsewhere, &name), id_of(&here, &name));

    // What bears the name now is not what the checkpoint stands on.
    let other = User::new();
    std::fs::write(context.join("run.sh"), "#!/bin/sh\n").unwrap();
    here.run(&["build", context.to_str().unwrap(), "--tag", &name]);
    here.run(&["push", &name]);
    let refused = other.try_run(&restore);
    assert!(refused.err.contains("is another one now"), "{}", refused.err);
    assert_eq!(other.run(&["ps", "-aq"]), "");
}

#[test]
fn a_checkpoint_goes_through_a_registry_and_finds_its_image_there() {
    let registry = Registry::open();
    let (here, elsewhere) = (User::new(), User::new());
    let context = context(&here);
    let base = format!("{}/me/counter:1", registry.name());
    let frozen = format!("{}/me/frozen:1", registry.name());
    here.run(&["build", context.to_str().unwrap(), "--tag", &base]);
    here.run(&["run", "-d", "--network", "none", "--name", "c", &base]);
    here.engine.await_log("c", "3\n");
    here.run(&["container", "checkpoint", "--create-image", &frozen, "c"]);
    here.run(&["push", &base]);
    here.run(&["push", &frozen]);
    elsewhere.run(&["run", "-d", "--name", "new", &frozen]);
    elsewhere.engine.await_more("new");
    elsewhere.engine.assert_counts("new");
    elsewhere.run(&["container", "restore", &frozen]);
    elsewhere.engine.await_more("c");
    elsewhere.engine.assert_counts("c");
    let id = |user: &User| user.engine.inspect("c", "{{.Id}}");
    assert_eq!(id(&elsewhere), id(&here));
    elsewhere.run(&["rm", "-f", "-v", "c"]);
}
