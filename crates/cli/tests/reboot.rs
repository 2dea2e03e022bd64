//! `system save` and `system resume`, through the program itself. A reboot is: no process of ours is
//! left, the network is bare, nothing lies below the run directory, and records name an earlier boot.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod network_support;

use std::{fs, path::PathBuf};

use container_support::Engine;
use network_support::{HOST, Net, OUTSIDE};

/// Counts connections.
const COUNT_CONNECTIONS: &str = "import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(50); print('ready', flush=True); n = 0
while True:
    c, _ = s.accept(); c.sendall(str(n).encode()); c.close(); n += 1";

const COUNT: &str = "i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done";

/// What a listing says of each container: name and result.
fn results(text: &str) -> Vec<(&str, &str)> {
    let mut found: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    found.sort_unstable();
    found
}

const RESULTS: &str = "{{.Name}} {{.Result}}";

fn status(engine: &Engine, name: &str) -> String {
    engine.inspect(name, "{{.State.Status}}")
}

#[test]
fn what_ran_goes_on_after_a_reboot() {
    let mut net = Net::new();
    let options = ["-p", "8080:80", "--ip", "10.88.7.7"];
    net.start_python("web", &options, COUNT_CONNECTIONS, &[]);
    let shared = ["--network", "container:web", "--restart", "unless-stopped"];
    net.engine.start("shared", &[&shared[..], &["--stop-signal", "KILL"]].concat(), "sleep 1000");
    net.engine.start("once", &["--rm"], COUNT);
    net.engine.start("paused", &["-v", "vol:/data"], &format!("echo here > /data/f; {COUNT}"));
    net.engine.start("user", &["--volumes-from", "paused"], COUNT);
    for name in ["once", "paused", "user"] {
        net.engine.await_log(name, "3\n");
    }
    net.engine.run(&["pause", "paused"]);
    net.engine.run(&["exec", "-d", "user", "sleep", "1000"]);
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("0"));
    let saved = net.engine.try_run(&["system", "save", "--format", RESULTS]);
    assert_eq!(saved.code, 1, "one was stopped: {saved:?}");
    let expect = ["once", "paused", "shared", "user", "web"]
        .map(|name| (name, if name == "shared" { "stopped" } else { "frozen" }));
    assert_eq!(results(&saved.out), expect);
    let names: Vec<&str> = saved.out.lines().filter_map(|line| line.split(' ').next()).collect();
    let place = |name| names.iter().position(|other| *other == name);
    assert!(place("user") < place("paused"), "who has mounts of another goes first: {names:?}");
    assert!(saved.err.contains("container shared was stopped instead of frozen"), "{}", saved.err);
    assert!(saved.err.contains("1 process of exec in container user had to end"), "{}", saved.err);

    net.reboot();
    let resumed = net.engine.try_run(&["system", "resume", "--format", RESULTS]);
    assert_eq!((resumed.code, resumed.err.as_str()), (0, ""), "{resumed:?}");
    let expect = ["once", "paused", "shared", "user", "web"]
        .map(|name| (name, if name == "shared" { "started anew" } else { "resumed" }));
    assert_eq!(results(&resumed.out), expect);
    for place in [HOST, OUTSIDE] {
        let answer = net.ask(place, "192.0.2.1:8080");
        assert_eq!(answer.as_deref(), Some(if place == HOST { "1" } else { "2" }));
    }
    assert_eq!(net.ask(HOST, "10.88.7.7:80").as_deref(), Some("3"));
    assert_eq!(status(&net.engine, "paused"), "paused");
    net.engine.run(&["unpause", "paused"]);
    assert_eq!(net.engine.run(&["exec", "user", "cat", "/data/f"]), "here\n");
    for name in ["once", "user"] {
        net.engine.await_more(name);
        net.engine.assert_counts(name);
    }
    assert_eq!(net.engine.run(&["checkpoint", "ls", "-q", "user"]), "", "it is used up");
    assert_eq!(net.engine.run(&["system", "resume", "-q"]), "", "nobody is left to come");
    net.engine.run(&["kill", "once"]);
    assert!(!net.engine.run(&["ps", "-a"]).contains("once"), "--rm holds again");
}

/// Answers each line with the next number, over connections that stay.
const ANSWER: &str = "import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(5); print('ready', flush=True); n = 0
c, _ = s.accept()
while c.recv(1): c.sendall(f'{n}\\n'.encode()); n += 1";

/// Prints the answers to one question after the other.
const QUESTION: &str = "import socket, sys, time
s = socket.create_connection((sys.argv[1], 80)); answers = s.makefile()
while True: s.sendall(b'?'); print(answers.readline(), end='', flush=True); time.sleep(0.05)";

#[test]
fn containers_stay_connected_with_each_other() {
    let mut net = Net::new();
    net.start_python("server", &[], ANSWER, &[]);
    let address = net.engine.inspect("server", "{{.NetworkSettings.IPAddress}}");
    let client = ["run", "-d", "--name", "client", "--network", "bridge", "--rootfs", "/:O"];
    net.engine.run(&[&client[..], &["python3", "-c", QUESTION, &address]].concat());
    net.engine.await_log("client", "3\n");
    let saved = net.engine.run(&["system", "save", "--format", RESULTS]);
    assert_eq!(results(&saved), [("client", "frozen"), ("server", "frozen")]);
    net.reboot();
    let resumed = net.engine.run(&["system", "resume", "--format", RESULTS]);
    assert_eq!(results(&resumed), [("client", "resumed"), ("server", "resumed")]);
    net.engine.await_more("client");
    net.engine.assert_counts("client");
}

#[test]
fn without_time_all_are_stopped_and_named() {
    let engine = Engine::new();
    let at_once = ["--stop-signal", "KILL"];
    engine.start(
        "policy",
        &[&at_once[..], &["--restart", "always"]].concat(),
        "echo began; sleep 1000",
    );
    engine.start("plain", &at_once, "sleep 1000");
    engine.run(&["update", "--restart", "unless-stopped", "policy"]);
    engine.await_log("policy", "began");
    let saved = engine.try_run(&["system", "save", "--within", "0", "--format", RESULTS]);
    assert_eq!(saved.code, 1);
    assert_eq!(results(&saved.out), [("plain", "stopped"), ("policy", "stopped")]);
    assert!(saved.err.contains("no time left"), "{}", saved.err);
    let resumed = engine.try_run(&["system", "resume", "--format", RESULTS]);
    assert_eq!(resumed.code, 1);
    assert_eq!(results(&resumed.out), [("plain", "stopped"), ("policy", "started anew")]);
    assert!(resumed.err.contains("container plain stays stopped"), "{}", resumed.err);
    engine.await_log("policy", "began\nbegan");
    assert_eq!(engine.run(&["system", "resume", "-q"]), "", "it is told once");
    assert_eq!(engine.try_run(&["system", "save", "--within", "soon"]).code, 1);
}

#[test]
fn a_checkpoint_that_does_not_restore_gives_a_normal_start() {
    let engine = Engine::new();
    engine.start("c", &[], "echo began; sleep 1000");
    engine.await_log("c", "began");
    assert_eq!(engine.run(&["system", "save", "-q"]).trim(), &engine.inspect("c", "{{.Id}}")[..12]);
    let mut checkpoints = fs::read_dir(engine.root().join("checkpoints")).unwrap().flatten();
    let checkpoint = checkpoints.find(|entry| entry.path().is_dir()).unwrap().path();
    fs::write(checkpoint.join("checkpoint/inventory.img"), "x").unwrap();
    let resumed = engine.try_run(&["system", "resume", "--format", RESULTS]);
    assert_eq!((resumed.code, resumed.out.as_str()), (1, "c started anew\n"), "{resumed:?}");
    assert!(resumed.err.contains("checkpoint/inventory.img"), "{}", resumed.err);
    engine.await_log("c", "began\nbegan");
}

#[test]
fn a_container_that_ran_meanwhile_or_was_stopped_is_left_alone() {
    let engine = Engine::new();
    for name in ["started", "stopped"] {
        engine.start(name, &["--restart", "unless-stopped"], COUNT);
        engine.await_log(name, "1\n");
    }
    engine.run(&["stop", "-t", "0", "stopped"]);
    engine.run(&["system", "save"]);
    engine.run(&["start", "started"]);
    engine.run(&["stop", "-t", "0", "started"]);
    let resumed = engine.try_run(&["system", "resume", "--format", RESULTS]);
    assert_eq!((resumed.code, resumed.out.as_str()), (0, ""), "{resumed:?}");
    let refused = engine.try_run(&["start", "--checkpoint", "system-save", "started"]);
    assert!(refused.err.contains("has no disk of its own"), "its disk is another one: {refused:?}");
}

#[test]
fn after_a_power_cut_policies_decide() {
    let mut net = Net::new();
    for (name, policy) in [("no", "no"), ("always", "always"), ("unless", "unless-stopped")] {
        net.engine.start(name, &["--restart", policy], "echo began; sleep 1000");
        net.engine.await_log(name, "began");
    }
    for name in ["no", "always", "unless"] {
        for pid in ["{{.State.MonitorPid}}", "{{.State.Pid}}"] {
            net.kill(&net.engine.inspect(name, pid));
        }
    }
    of_an_earlier_boot(&net.engine);
    net.reboot();
    assert_eq!(status(&net.engine, "always"), "exited");
    let resumed = net.engine.try_run(&["system", "resume", "--format", RESULTS]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(results(&resumed.out), [("always", "started anew"), ("unless", "started anew")]);
    assert_eq!(status(&net.engine, "no"), "exited");
}

/// Processes that records name are those of an earlier boot.
fn of_an_earlier_boot(engine: &Engine) {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let containers = fs::read_dir(engine.root().join("containers")).unwrap();
    let states: Vec<PathBuf> =
        containers.map(|entry| entry.unwrap().path().join("state.json")).collect();
    for path in states {
        let state = fs::read_to_string(&path).unwrap();
        assert!(state.contains(boot.trim()), "{state}");
        fs::write(&path, state.replace(boot.trim(), "11111111-2222-3333-4444-555555555555"))
            .unwrap();
    }
}

#[test]
fn monitors_are_not_in_the_control_group_of_a_login() {
    let engine = Engine::new();
    engine.start("c", &[], "sleep 1000");
    let monitor = engine.inspect("c", "{{.State.MonitorPid}}");
    let groups = fs::read_to_string(format!("/proc/{monitor}/cgroup")).unwrap();
    let watched = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    let watched: Vec<&str> = groups.lines().filter(watched).collect();
    assert!(!watched.is_empty());
    assert!(watched.iter().all(|line| line.ends_with(":/stasis/monitors")), "{groups}");
}
