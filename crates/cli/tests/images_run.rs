//! Containers of images, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{collections::BTreeMap, fs, path::Path};

use container_support::Engine;
use serde_json::{Value, json};
use stasis_oci::RunConfig;

const COUNT: &str = "i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done";

fn words(text: &str) -> Option<Vec<String>> {
    Some(text.split(' ').map(str::to_owned).collect())
}

/// All that an image can say of how it is run.
fn demanding() -> RunConfig {
    RunConfig {
        user: "1234:99".into(),
        env: vec!["PATH=/bin".into(), "COLOR=blue".into()],
        entrypoint: words("sh -c"),
        cmd: words("pwd"),
        working_dir: "/made/here".into(),
        volumes: BTreeMap::from([("/data".into(), json!({}))]),
        labels: BTreeMap::from([("a".into(), "image".into()), ("b".into(), "image".into())]),
        stop_signal: Some("SIGUSR1".into()),
        stop_timeout: Some(3),
        exposed_ports: BTreeMap::from([("80/tcp".into(), json!({}))]),
        ..RunConfig::default()
    }
}

fn plain() -> RunConfig {
    RunConfig { env: vec!["PATH=/bin".into()], cmd: words("sh"), ..RunConfig::default() }
}

#[test]
fn a_container_takes_from_its_image_what_is_not_typed() {
    let engine = Engine::new();
    engine.make_image("demanding", demanding());
    let run = |args: &[&str]| engine.run(&[&["run", "--rm"], args].concat());
    assert_eq!(run(&["demanding"]), "/made/here\n");
    assert_eq!(run(&["demanding", "id -u; id -g; echo $COLOR"]), "1234\n99\nblue\n");
    assert_eq!(
        run(&["-e", "COLOR=red", "-w", "/tmp", "-u", "0", "demanding", "id -u; echo $COLOR; pwd"]),
        "0\nred\n/tmp\n"
    );
    assert_eq!(run(&["--entrypoint", "echo", "demanding"]), "\n");
    assert_eq!(run(&["--entrypoint", "echo", "demanding", "a", "b"]), "a b\n");
    assert_eq!(run(&["--entrypoint", "", "demanding", "echo", "c"]), "c\n");
    let nothing = engine.try_run(&["run", "--rm", "--entrypoint", "", "demanding"]);
    assert_eq!(nothing.code, 125);
    assert!(nothing.err.contains("no command to run"), "{nothing:?}");
    engine.run(&["create", "--name", "c", "--label", "b=typed", "demanding"]);
    let shown: Value = serde_json::from_str(&engine.run(&["inspect", "c"])).unwrap();
    let config = &shown[0]["Config"];
    assert_eq!(config["Labels"], json!({"a": "image", "b": "typed"}));
    assert_eq!((&config["StopSignal"], &config["StopTimeout"]), (&json!("SIGUSR1"), &json!(3)));
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["sh", "-c"]), &json!(["pwd"])));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(shown[0]["Mounts"][0]["Destination"], "/data");
    assert_eq!(shown[0]["Path"], "sh");
    engine.run(&["rm", "-v", "c"]);
    assert_eq!(engine.run(&["volume", "ls", "-q"]), "", "volumes of the image are anonymous ones");
}

#[test]
fn names_ids_and_lists() {
    let engine = Engine::new();
    let image = engine.make_image("box:one", plain());
    engine.run(&["create", "--name", "named", "box:one"]);
    engine.run(&["create", "--name", "by-id", &image.id.hex()[..12]]);
    assert_eq!(
        engine.inspect("named", "{{.Image}} {{.Config.Image}}"),
        format!("{} box:one", image.id)
    );
    let listed = engine.run(&["ps", "-a", "--format", "{{.Names}} {{.Image}}"]);
    assert_eq!(listed, format!("by-id {}\nnamed box:one\n", &image.id.hex()[..12]));
    let missing = engine.try_run(&["create", "--pull", "never", "nobody/nothing:here"]);
    assert_eq!(missing.code, 125);
    assert!(missing.err.contains("no such image: nobody/nothing:here"), "{missing:?}");
    assert_eq!(engine.try_run(&["create", "--pull", "sometimes", "box:one"]).code, 125);
    assert_eq!(engine.try_run(&["create"]).code, 125);
    // A container names the image it was made of, also when the name is another image's now.
    engine.make_image("box:one", demanding());
    let listed = engine.run(&["ps", "-a", "-f", "name=named", "--format", "{{.Image}}"]);
    assert_eq!(listed.trim(), image.short_id());
}

#[test]
fn nothing_of_an_image_is_changed_by_a_container() {
    let engine = Engine::new();
    let image = engine.make_image("box", plain());
    let lower = engine.images().lower_dirs(&image, &mut stasis_store::Silent).unwrap();
    let before = tree(&lower[0]);
    let script = "echo x > /bin/busybox2; rm /bin/ls; echo more >> /etc/passwd; mv /root /moved;
        mkdir /etc/new; chmod 700 /tmp; echo me > /etc/hostname; cat /bin/busybox2 /moved/x";
    fs::write(engine.busybox().join("root/x"), "").unwrap();
    assert_eq!(engine.try_run(&["run", "--rm", "box", "sh", "-c", script]).out, "x\n");
    assert_eq!(tree(&lower[0]), before);
    assert_eq!(
        engine.run(&["run", "--rm", "box", "sh", "-c", "ls -d /root; cat /etc/passwd"]),
        "/root\nroot:x:0:0::/root:/bin/sh\n"
    );
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

/// Every path with its size and mode.
fn tree(dir: &Path) -> BTreeMap<std::path::PathBuf, (u64, u32)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut level = vec![dir.to_owned()];
    while let Some(dir) = level.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let size = if meta.is_dir() { 0 } else { meta.len() };
            found.insert(entry.path(), (size, meta.mode()));
            if meta.is_dir() {
                level.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn layers_lie_over_each_other_and_host_files_are_the_containers() {
    let engine = Engine::new();
    let mut dirs = vec![engine.busybox()];
    for n in 0..40 {
        let dir = engine.dir.path().join(format!("layer{n}"));
        fs::create_dir_all(dir.join("etc")).unwrap();
        fs::write(dir.join(format!("file{n}")), n.to_string()).unwrap();
        fs::write(dir.join("top"), n.to_string()).unwrap();
        for name in ["hosts", "hostname"] {
            fs::write(dir.join("etc").join(name), "of the image").unwrap();
        }
        // Leads nowhere in the image, and must lead nowhere else.
        let _ = std::os::unix::fs::symlink("/run/no/resolv.conf", dir.join("etc/resolv.conf"));
        dirs.push(dir);
    }
    let dirs: Vec<&Path> = dirs.iter().map(std::path::PathBuf::as_path).collect();
    let image = engine.make_image_of("deep", &dirs, plain());
    let script =
        "cat /top /file0 /file39; echo; cat /etc/hostname; grep -c image /etc/hosts; ls /run";
    let out = engine.try_run(&["run", "--rm", "--hostname", "own", "deep", "sh", "-c", script]);
    assert_eq!(out.out, "39039\nown\n0\n", "{out:?}");
    let top = &engine.images().lower_dirs(&image, &mut stasis_store::Silent).unwrap()[0];
    assert_eq!(fs::read_to_string(top.join("etc/hosts")).unwrap(), "of the image");
}

#[test]
fn checkpoints_of_containers_of_images() {
    let engine = Engine::new();
    engine.make_image("box", plain());
    let script = format!("echo before > /file; rm /etc/group; {COUNT}");
    engine.run(&["run", "-d", "--name", "c", "-v", "/data", "box", "sh", "-c", &script]);
    engine.await_log("c", "3\n");
    for name in ["one", "two"] {
        engine.run(&["checkpoint", "create", "c", name]);
        engine.run(&["start", "--checkpoint", name, "c"]);
        let before = engine.logs("c").lines().count();
        engine.eventually("it goes on", || engine.logs("c").lines().count() > before + 2);
    }
    for (expect, line) in engine.logs("c").lines().enumerate() {
        assert_eq!(line, expect.to_string());
    }
    engine.run(&["exec", "c", "sh", "-c", "echo after > /file"]);
    engine.run(&["kill", "c"]);
    engine.run(&["start", "--checkpoint", "one", "c"]);
    let seen = engine.run(&["exec", "c", "sh", "-c", "cat /file; ls /etc/group 2>&1; true"]);
    assert!(seen.starts_with("before\n") && seen.contains("No such file"), "{seen}");
    engine.run(&["rm", "-fv", "c"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn health_checks_tell_how_a_container_is() {
    let engine = Engine::new();
    let healthcheck = stasis_oci::Healthcheck {
        test: ["CMD-SHELL", "echo looked; test -e /well"].map(str::to_owned).to_vec(),
        interval: 100_000_000,
        retries: 2,
        ..Default::default()
    };
    engine.make_image("box", RunConfig { healthcheck: Some(healthcheck), ..plain() });
    engine.run(&[
        "run",
        "-d",
        "--name",
        "c",
        "--health-start-period",
        "1h",
        "--health-start-interval",
        "50ms",
        "box",
        "sleep",
        "1000",
    ]);
    assert!(engine.run(&["ps"]).contains("(health: starting)"));
    let health = |field: &str| engine.inspect("c", &format!("{{{{json .State.Health.{field}}}}}"));
    engine.eventually("it was looked at", || health("Log").contains("looked"));
    assert_eq!((health("Status"), health("FailingStreak")), ("\"starting\"".into(), "0".into()));
    engine.run(&["exec", "c", "touch", "/well"]);
    engine.eventually("it is healthy", || health("Status") == "\"healthy\"");
    assert!(engine.run(&["ps", "--filter", "health=healthy"]).contains("(healthy)"));
    engine.run(&["exec", "c", "rm", "/well"]);
    engine.eventually("it is unhealthy", || health("Status") == "\"unhealthy\"");
    // A checkpoint does not meet a probe, and who comes back is looked after as well.
    engine.run(&["checkpoint", "create", "c", "x"]);
    engine.run(&["start", "--checkpoint", "x", "c"]);
    engine.run(&["exec", "c", "touch", "/well"]);
    engine.eventually("it is healthy again", || health("Status") == "\"healthy\"");
    engine.run(&["rm", "-f", "c"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
    engine.run(&["create", "--name", "none", "--no-healthcheck", "box", "true"]);
    assert_eq!(engine.inspect("none", "{{json .Config.Healthcheck}}"), "null");
    let slow =
        ["--health-cmd", "sleep 77; true", "--health-timeout", "100ms", "--health-retries", "1"];
    engine.run(
        &[&["run", "-d", "--name", "slow"], slow.as_slice(), &["box", "sleep", "1000"]].concat(),
    );
    let status = || engine.inspect("slow", "{{.State.Health.Status}}");
    engine.eventually("it is unhealthy", || status() == "unhealthy");
    let log = || engine.inspect("slow", "{{json .State.Health.Log}}");
    engine.eventually("it went on", || log().matches("exceeded timeout").count() == 5);
    let probes = engine.run(&["top", "slow"]).matches("sleep 77").count();
    assert!(probes <= 2, "nothing of an earlier probe is left: {probes}");
    assert_eq!(engine.try_run(&["create", "--health-interval", "fast", "box", "true"]).code, 125);
}

#[test]
fn what_lies_in_memory_is_saved_from_inside_the_root() {
    let engine = Engine::new();
    let host = engine.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("secret"), "of the host").unwrap();
    // The image sends whoever follows its links on the host to a directory of the host.
    std::os::unix::fs::symlink(&host, engine.busybox().join("memory")).unwrap();
    let inside = engine.busybox().join(host.strip_prefix("/").unwrap());
    fs::create_dir_all(inside).unwrap();
    engine.make_image("hostile", plain());
    let script = format!("echo kept > /memory/file; {COUNT}");
    engine.run(&["run", "-d", "--name", "c", "--tmpfs", "/memory", "hostile", "sh", "-c", &script]);
    engine.await_log("c", "1\n");
    engine.run(&["checkpoint", "create", "c", "x"]);
    engine.run(&["start", "--checkpoint", "x", "c"]);
    assert_eq!(
        engine.run(&["exec", "c", "sh", "-c", "ls /memory; cat /memory/file"]),
        "file\nkept\n"
    );
    let left: Vec<_> =
        fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"]);
}
