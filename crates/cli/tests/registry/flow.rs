//! The way of a container through a registry to another machine, as it is typed.

use std::{fs, path::PathBuf};

use crate::{
    registry_support::{PASSWORD, Registry},
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

/// Runs the image until it has counted to 3.
fn count(user: &User, image: &str) {
    user.run(&["run", "-d", "--network", "none", "--name", "c", image]);
    user.engine.await_log("c", "3\n");
    user.run(&["rm", "-f", "-v", "c"]);
}

fn from_here_to_elsewhere(registry: &Registry, login: impl Fn(&User)) {
    let (here, elsewhere) = (User::new(), User::new());
    let context = context(&here);
    here.run(&["build", context.to_str().unwrap(), "--tag", "counter"]);
    assert_eq!(here.run(&["history", "-q", "counter"]).lines().count(), 4);
    login(&here);
    let name = format!("{}/me/counter:test", registry.name());
    here.run(&["tag", &id_of(&here, "counter"), &name]);
    here.run(&["push", &name]);
    login(&elsewhere);
    elsewhere.run(&["pull", &name]);
    assert_eq!(id_of(&elsewhere, &name), id_of(&here, "counter"));
    count(&elsewhere, &name);
}

#[test]
fn an_image_goes_through_a_registry() {
    from_here_to_elsewhere(&Registry::open(), |_| ());
}

#[test]
fn an_image_goes_through_a_registry_with_password() {
    let registry = Registry::with_password();
    from_here_to_elsewhere(&registry, |user| {
        assert_eq!(user.login(&registry.name(), PASSWORD).code, 0);
    });
}
