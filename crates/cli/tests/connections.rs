//! TCP connections over a checkpoint, through the program itself; see `networks.rs` for where the
//! engine and its clients are.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod network_support;

use std::{
    process::Child,
    time::{Duration, Instant},
};

use network_support::{Counting, HOST, Net, OUTSIDE, SERVE_COUNT};

const NAME: &str = "server";

fn server(net: &Net, options: &[&str]) {
    net.start_python(NAME, options, SERVE_COUNT, &[]);
}

fn is_reset(client: &mut Counting) -> bool {
    client.ask().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[test]
fn a_client_goes_on_over_checkpoints_and_does_not_notice() {
    let net = Net::new();
    server(&net, &[]);
    let before = net.devices_and_tables();
    let quiet = net.count(HOST, "10.88.0.2:80");
    let busy = net.count(HOST, "10.88.0.2:80").ask_all_the_time();
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "a"]);
    assert_eq!(net.devices_and_tables(), before, "the lock of the network is left");
    for name in ["b", "c"] {
        net.engine.run(&["checkpoint", "create", NAME, name]);
        net.engine.run(&["start", "--checkpoint", name, "--tcp-established", NAME]);
    }
    assert_eq!(net.devices_and_tables(), before, "the lock of the network is left");
    busy.stop().ask().unwrap();
    let mut quiet = quiet;
    quiet.ask().unwrap();
    // The state from then knows less than the client, and both sides notice.
    net.engine.run(&["stop", "-t", "0", NAME]);
    let restored = net.engine.run(&["start", "--checkpoint", "c", NAME]);
    assert_eq!(restored, format!("{NAME}\n"));
}

#[test]
fn connections_are_closed_for_who_wants_that() {
    let net = Net::new();
    server(&net, &[]);
    let mut client = net.count(HOST, "10.88.0.2:80");
    client.ask().unwrap();
    net.engine.run(&["checkpoint", "create", NAME, "a"]);
    net.engine.run(&["start", "--checkpoint", "a", "--tcp-close", NAME]);
    assert!(is_reset(&mut client), "the client was not told");
    net.engine.await_log(NAME, "lost 104");
    net.count(HOST, "10.88.0.2:80").ask().unwrap();
}

#[test]
fn a_new_container_does_not_take_the_connections_of_the_old_one() {
    let net = Net::new();
    server(&net, &[]);
    let mut client = net.count(HOST, "10.88.0.2:80");
    client.ask().unwrap();
    let archive = net.engine.dir.path().join("a.tar");
    let archive = archive.to_str().unwrap();
    net.engine.run(&["container", "checkpoint", "--leave-running", "--export", archive, NAME]);
    let made = net.engine.try_run(&["container", "restore", "--import", archive, "--name", "new"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let told = "TCP connection 10.88.0.2:80 -> 10.88.0.1";
    assert!(made.err.contains(told), "{}", made.err);
    net.engine.await_log("new", "lost 104");
    let address = net.engine.inspect("new", "{{.NetworkSettings.IPAddress}}");
    net.count(HOST, &format!("{address}:80")).ask().unwrap();
    client.ask().unwrap();
}

#[test]
fn who_insists_on_connections_is_told_why_they_cannot_be_kept() {
    let net = Net::new();
    server(&net, &[]);
    let mut client = net.count(HOST, "10.88.0.2:80");
    client.ask().unwrap();
    let archive = net.engine.dir.path().join("a.tar");
    let archive = archive.to_str().unwrap();
    net.engine.run(&["container", "checkpoint", "--export", archive, NAME]);
    net.engine.run(&["rm", NAME]);
    let import = ["container", "restore", "--import", archive, "--network", "none"];
    let refused = net.engine.try_run(&[&import[..], &["--tcp-established"]].concat());
    assert_eq!(refused.code, 1);
    let why =
        "its local address is not here (EADDRNOTAVAIL); give this place the address 10.88.0.2";
    assert!(refused.err.contains(why), "{}", refused.err);
    assert_eq!(net.engine.run(&["ps", "-aq"]), "", "something is left of it");
    let closed = net.engine.try_run(&import);
    assert_eq!(closed.code, 0, "{}", closed.err);
    assert!(closed.err.contains("it is closed with a reset"), "{}", closed.err);
    net.engine.await_log(NAME, "lost 104");
}

#[test]
fn a_client_of_a_published_port_waits_for_its_container() {
    let net = Net::new();
    server(&net, &["-p", "8080:80"]);
    let clients = [(OUTSIDE, "192.0.2.1:8080"), (HOST, "192.0.2.1:8080")];
    let busy = clients.map(|(place, target)| net.count(place, target).ask_all_the_time());
    for name in ["a", "b"] {
        net.engine.run(&["checkpoint", "create", NAME, name]);
        // Long enough for some segments to be sent again in vain.
        std::thread::sleep(Duration::from_millis(700));
        net.engine.run(&["start", "--checkpoint", name, NAME]);
    }
    for client in busy {
        client.stop().ask().unwrap();
    }
    net.count(OUTSIDE, "192.0.2.1:8080").ask().unwrap();
}

#[test]
fn nothing_is_left_of_a_container_that_was_away() {
    let net = Net::new();
    let before = net.devices_and_tables();
    server(&net, &["-p", "8080:80"]);
    net.engine.run(&["checkpoint", "create", NAME, "a"]);
    assert!(net.try_listen(HOST, "0.0.0.0:8080").is_some(), "its port is kept from others");
    net.engine.run(&["rm", NAME]);
    assert_eq!(net.devices_and_tables(), before);
}

/// Ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_dump_that_is_killed_leaves_no_lock_and_no_connection_cut() {
    let net = Net::new();
    // So much memory that a dump takes its time.
    let much = format!("much = bytearray(b'x') * 500_000_000\n{SERVE_COUNT}");
    let server = Killed(net.start_process(&["python3", "-c", &much]));
    let mut client = net.count(HOST, "127.0.0.1:80");
    client.ask().unwrap();
    let images = net.engine.dir.path().join("images");
    let (pid, images) = (server.0.id().to_string(), images.to_str().unwrap());
    let program = env!("CARGO_BIN_EXE_stasis");
    let dump = ["process", "dump", "-t", &pid, "-D", images, "--tcp-established"];
    let mut dump = Killed(net.start_process(&[&[program][..], &dump].concat()));
    let is_locked = || net.tables().iter().any(|table| table.starts_with("stasis-lock-"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_locked() {
        assert!(dump.0.try_wait().unwrap().is_none(), "it has ended without a lock");
        assert!(Instant::now() < deadline, "there is no lock");
    }
    dump.0.kill().unwrap();
    dump.0.wait().unwrap();
    assert!(!is_locked(), "the lock is left");
    client.ask().unwrap();
}

#[test]
fn who_does_not_speak_of_connections_is_asked() {
    let net = Net::new();
    let server = Killed(net.start_process(&["python3", "-c", SERVE_COUNT]));
    let mut client = net.count(HOST, "127.0.0.1:80");
    client.ask().unwrap();
    let images = net.engine.dir.path().join("images");
    let (pid, images) = (server.0.id().to_string(), images.to_str().unwrap());
    let dump = ["process", "dump", "-t", &pid, "-D", images];
    let refused = net.engine.try_run(&dump);
    assert_eq!(refused.code, 1);
    let hint = "a TCP connection to 127.0.0.1:";
    assert!(refused.err.contains(hint), "{}", refused.err);
    assert!(refused.err.contains("use --tcp-established to keep it"), "{}", refused.err);
    client.ask().unwrap();
    net.engine.run(&[&dump[..], &["--tcp-established"]].concat());
    let mut server = server;
    server.0.wait().unwrap();
    let restore = ["process", "restore", "-d", "-D", images];
    let refused = net.engine.try_run(&restore);
    assert_eq!(refused.code, 1);
    let asked = "TCP connection 127.0.0.1:80 -> 127.0.0.1:";
    assert!(refused.err.contains(asked), "{}", refused.err);
    net.engine.run(&[&restore[..], &["--tcp-close"]].concat());
    assert!(is_reset(&mut client), "the client was not told");
    net.count(HOST, "127.0.0.1:80").ask().unwrap();
    assert_eq!(net.tables(), Vec::<String>::new(), "the lock is left");
    net.kill(&pid);
}

#[test]
fn clients_of_a_container_that_is_rewound_are_told() {
    let net = Net::new();
    server(&net, &[]);
    let mut client = net.count(HOST, "10.88.0.2:80");
    client.ask().unwrap();
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "a"]);
    client.ask().unwrap();
    net.engine.run(&["rewind", NAME, "a"]);
    assert!(is_reset(&mut client), "the client was not told");
    net.engine.await_log(NAME, "lost 104");
    net.count(HOST, "10.88.0.2:80").ask().unwrap();
}

/// Its numbers are later than those in the checkpoint, and it says nothing that could be answered.
#[test]
fn a_client_that_only_waits_hears_that_its_server_was_rewound() {
    let net = Net::new();
    server(&net, &["-p", "8080:80"]);
    let places = [(HOST, "10.88.0.2:80"), (HOST, "192.0.2.1:8080"), (OUTSIDE, "192.0.2.1:8080")];
    let connect = || places.map(|(place, target)| net.count(place, target));
    let early = connect();
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "a"]);
    let mut clients = early.into_iter().chain(connect()).collect::<Vec<_>>();
    clients.iter_mut().for_each(|client| client.ask().unwrap());
    net.engine.run(&["rewind", NAME, "a"]);
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(client.hears_of_a_reset(), "client {number}");
    }
    net.count(OUTSIDE, "192.0.2.1:8080").ask().unwrap();
}

#[test]
fn a_client_that_only_waits_hears_that_an_older_checkpoint_was_started() {
    let net = Net::new();
    server(&net, &["-p", "8080:80"]);
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "old"]);
    let mut client = net.count(OUTSIDE, "192.0.2.1:8080");
    client.ask().unwrap();
    net.engine.run(&["checkpoint", "create", NAME, "new"]);
    net.engine.run(&["start", "--checkpoint", "old", NAME]);
    assert!(client.hears_of_a_reset(), "the client was not told");
    net.count(OUTSIDE, "192.0.2.1:8080").ask().unwrap();
}
