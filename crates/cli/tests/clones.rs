//! `clone`, through the program itself: many containers from a checkpoint or from one that runs.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod network_support;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
};

use container_support::Engine;
use network_support::{HOST, Net, OUTSIDE};

/// Counts connections.
const COUNT_CONNECTIONS: &str = "import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(50); print('ready', flush=True); n = 0
while True:
    c, _ = s.accept(); c.sendall(str(n).encode()); c.close(); n += 1";

const COUNT_IN_PYTHON: &str = "import itertools, time
for i in itertools.count():
    print(i)
    time.sleep(0.1)";

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
fn fifty_clones_share_what_they_have_in_common() {
    let merging = NoMerging::by_itself();
    let engine = Engine::new();
    engine.run(&["run", "-d", "--name", "c", "--rootfs", "/:O", "python3", "-uc", COUNT_IN_PYTHON]);
    engine.await_log("c", "3\n");
    let of_original = own_memory(&engine, "c");
    let done = engine.try_run(&["clone", "c", "--count", "50"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let of_clones: u64 = done.out.lines().map(|id| own_memory(&engine, id)).sum();
    println!("the original has {of_original} KiB, its fifty clones {of_clones} KiB of their own");
    assert!(of_clones < 50 * of_original / 3, "{of_original} KiB, and then {of_clones} KiB");
    let nr_lines = |id: &str| engine.logs(id).lines().count();
    let before: Vec<usize> = done.out.lines().map(nr_lines).collect();
    for (id, before) in done.out.lines().zip(before) {
        engine.eventually("each goes on", || nr_lines(id) > before);
        engine.assert_counts(id);
    }
    merging.assert_as_before(&engine);
    let all: Vec<&str> = done.out.lines().chain(["c"]).collect();
    engine.run(&[&["rm", "-f"], &all[..]].concat());
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn a_command_that_is_killed_does_not_leave_the_kernel_at_it() {
    let merging = NoMerging::by_itself();
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    let mut cloning = engine.command(&["clone", "c"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut id = String::new();
    BufReader::new(cloning.stdout.take().unwrap()).read_line(&mut id).unwrap();
    engine.eventually("it is switched on", || {
        assert_eq!(cloning.try_wait().unwrap(), None, "it ended before it was seen at work");
        ksm_values() != merging.before
    });
    cloning.kill().unwrap();
    cloning.wait().unwrap();
    assert_eq!(engine.run(&["ps", "-q"]).lines().count(), 2);
    merging.assert_as_before(&engine);
}

#[test]
fn memory_that_must_not_be_merged_is_not() {
    let _merging = NoMerging::by_itself();
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    engine.run(&["clone", "c", "--name", "alone", "--merge-memory=false"]);
    engine.run(&["clone", "c", "--name", "merged", "--merge-memory"]);
    let of = |name: &str| mergeable(&engine.inspect(name, "{{.State.Pid}}"));
    assert!(of("c").is_empty());
    assert!(of("alone").is_empty());
    assert!(of("merged").iter().any(|line| line.ends_with("[heap]")), "{:?}", of("merged"));
}

#[test]
fn monitors_are_small() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    engine.run(&["clone", "c", "--merge-memory=false"]);
    let monitor = engine.inspect("c1", "{{.State.MonitorPid}}");
    let limit = |pid: &str| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
    };
    assert_eq!(limit(&monitor), limit("self"));
    let dirty_kib = private_dirty(&monitor);
    assert!(dirty_kib < 500, "a monitor has {dirty_kib} KiB of its own");
}

/// The kernel's merging is off, but for what clones ask for, as long as this lives. One at a time.
struct NoMerging {
    before: Vec<String>,
    was: String,
    _alone: MutexGuard<'static, ()>,
}

const KSM: &str = "/sys/kernel/mm/ksm";

impl NoMerging {
    fn by_itself() -> NoMerging {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // No clone of another test is being merged while we look.
        fs::create_dir_all("/run/stasis-ksm").unwrap();
        let lock = fs::File::create("/run/stasis-ksm/lock").unwrap();
        lock.lock().unwrap();
        let was = fs::read_to_string(format!("{KSM}/run")).unwrap();
        fs::write(format!("{KSM}/run"), "0").unwrap();
        NoMerging { before: ksm_values(), was, _alone: alone }
    }

    fn assert_as_before(&self, engine: &Engine) {
        engine.eventually("the kernel's values come back", || ksm_values() == self.before);
    }
}

impl Drop for NoMerging {
    fn drop(&mut self) {
        let _ = fs::write(format!("{KSM}/run"), &self.was);
    }
}

fn ksm_values() -> Vec<String> {
    let names = ["run", "pages_to_scan", "sleep_millisecs", "smart_scan", "advisor_mode"];
    names.map(|name| fs::read_to_string(format!("{KSM}/{name}")).unwrap_or_default()).into()
}

/// What a container costs, its monitor included: pages that only one process has, in KiB.
fn own_memory(engine: &Engine, name: &str) -> u64 {
    let pids = engine.inspect(name, "{{.State.Pid}} {{.State.MonitorPid}}");
    pids.split(' ').map(private_dirty).sum()
}

fn private_dirty(pid: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
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
