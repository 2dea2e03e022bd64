//! `clone`, through the program itself: many containers from a checkpoint or from one that runs.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod network_support;

use std::{collections::BTreeSet, fs};

use container_support::Engine;
use network_support::{HOST, Net, OUTSIDE};

/// Counts connections.
const COUNT_CONNECTIONS: &str = "import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(50); print('ready', flush=True); n = 0
while True:
    c, _ = s.accept(); c.sendall(str(n).encode()); c.close(); n += 1";

const COUNT: &str = "i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done";

fn address(net: &Net, name: &str) -> String {
    net.engine.inspect(name, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn clones_of_a_running_server_answer_each_on_its_own_address() {
    let net = Net::new();
    let bare = net.devices_and_tables();
    let options = ["-p", "8080:80", "--ip", "10.88.5.5"];
    net.start_python("web", &options, COUNT_CONNECTIONS, &[]);
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("0"));
    let ids = net.engine.run(&["clone", "web", "--count", "4", "--own-hostname"]);
    assert_eq!(ids.lines().count(), 4);
    let names = ["web1", "web2", "web3", "web4"];
    let mut addresses = BTreeSet::from([address(&net, "web")]);
    for (name, id) in names.iter().zip(ids.lines()) {
        assert_eq!(net.engine.inspect(name, "{{.Id}}"), id);
        assert_eq!(net.engine.run(&["exec", name, "hostname"]).trim(), *name);
        addresses.insert(address(&net, name));
        let target = format!("{}:80", address(&net, name));
        for expect in ["1", "2"] {
            assert_eq!(net.ask(HOST, &target).as_deref(), Some(expect), "{name}");
        }
        let port = net.engine.run(&["port", name, "80"]);
        let port = port.lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
        assert_eq!(net.ask(OUTSIDE, &format!("192.0.2.1:{port}")).as_deref(), Some("3"), "{name}");
    }
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("1"), "the original runs on");
    let checkpoints = fs::read_dir(net.engine.root().join("checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 0, "the checkpoint was needed for the clones alone");
    net.engine.run(&[&["rm", "-f", "web"][..], &names[..]].concat());
    assert_eq!(net.devices_and_tables(), bare);
    assert_eq!(net.engine.leftovers(), Vec::<String>::new());
}

#[test]
fn clones_of_a_checkpoint_have_disks_of_their_own() {
    let engine = Engine::new();
    let script = format!("echo then > /root-file; echo then > /data/f; {COUNT}");
    engine.start("c", &["-v", "vol:/data"], &script);
    engine.await_log("c", "3\n");
    engine.run(&["checkpoint", "create", "c", "one"]);
    let one = engine.run(&["clone", "c/one", "--name", "alone"]);
    assert_eq!(engine.inspect("alone", "{{.Id}}"), one.trim());
    engine.run(&["clone", "c/one", "--count", "2", "--name", "n"]);
    engine.run(&["exec", "alone", "sh", "-c", "echo now > /data/f; echo now > /root-file"]);
    for name in ["n1", "n2"] {
        let seen = engine.run(&["exec", name, "cat", "/data/f", "/root-file"]);
        assert_eq!(seen, "then\nthen\n", "{name}");
        engine.await_more(name);
        engine.assert_counts(name);
    }
    let taken = engine.try_run(&["clone", "c/one", "--name", "alone"]);
    assert_eq!(taken.code, 1, "{taken:?}");
    assert!(taken.err.contains("container alone was not made"), "{}", taken.err);
    assert_eq!(engine.run(&["ps", "-aq"]).lines().count(), 4);
    let volumes = engine.run(&["volume", "ls", "-q"]).lines().count();
    assert_eq!(volumes, 4, "the original's and those of three clones");
    assert_ne!(engine.try_run(&["clone", "c/one", "--count", "0"]).code, 0);
    assert!(engine.try_run(&["clone", "nobody"]).err.contains("nobody"));
}

#[test]
fn one_that_fails_leaves_nothing_and_is_named() {
    let net = Net::new();
    // Room for the bridge, the original and four clones.
    net.engine.run(&["network", "create", "--subnet", "10.99.0.0/29", "small"]);
    net.start_python("web", &["--network", "small"], COUNT_CONNECTIONS, &[]);
    let done = net.engine.try_run(&["clone", "web", "--count", "5"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(done.out.lines().count(), 4, "{done:?}");
    let failed = done.err.lines().filter(|line| line.starts_with("error: container web")).count();
    assert_eq!(failed, 1, "{}", done.err);
    assert_eq!(net.engine.run(&["ps", "-aq"]).lines().count(), 5);
    for id in done.out.lines() {
        let target = format!(
            "{}:80",
            net.engine.inspect(id, "{{.NetworkSettings.Networks.small.IPAddress}}")
        );
        assert_eq!(net.ask(HOST, &target).as_deref(), Some("0"));
    }
}

#[test]
fn memory_may_be_merged_and_monitors_are_small() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    let done = engine.try_run(&["clone", "c", "--merge-memory"]);
    assert_eq!(done.code, 0, "{done:?}");
    let is_on = fs::read_to_string("/sys/kernel/mm/ksm/run").unwrap().trim() == "1";
    assert_eq!(done.err.contains("does not merge"), !is_on, "{}", done.err);
    engine.await_more("c1");
    engine.assert_counts("c1");
    let of = |name: &str| mergeable(&engine.inspect(name, "{{.State.Pid}}"));
    assert!(of("c").is_empty());
    assert!(of("c1").iter().any(|line| line.ends_with("[heap]")), "{:?}", of("c1"));
    let monitor = engine.inspect("c1", "{{.State.MonitorPid}}");
    let limit = |pid: &str| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
    };
    assert_eq!(limit(&monitor), limit("self"));
    let smaps = fs::read_to_string(format!("/proc/{monitor}/smaps")).unwrap();
    let heap = smaps.split("[heap]").nth(1).unwrap();
    let dirty = heap.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    let dirty_kib: u32 = dirty.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(dirty_kib < 700, "the heap of a monitor has {dirty_kib} KiB");
}

/// Mappings that the kernel may merge.
fn mergeable(pid: &str) -> Vec<String> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut found = Vec::new();
    let mut mapping = "";
    for line in smaps.lines() {
        match line.strip_prefix("VmFlags:") {
            Some(flags) if flags.split(' ').any(|flag| flag == "mg") => found.push(mapping.into()),
            Some(_) => {}
            None if !line.split(' ').next().unwrap().ends_with(':') => mapping = line,
            None => {}
        }
    }
    found
}
