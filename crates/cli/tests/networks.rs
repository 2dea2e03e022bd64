//! Networks of containers, through the program itself. The whole engine of a test runs in a network
//! namespace of the test's own, with another one as a host outside: the machine's own network is
//! neither used nor changed.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod network_support;

use std::{collections::BTreeSet, net::IpAddr, thread::scope};

use network_support::{HOST, Net, OUTSIDE, SERVE_NAME};

/// Answers connections with the name it was given, and tells when it is ready.
fn serve(net: &Net, name: &str, options: &[&str]) {
    net.start_python(name, options, SERVE_NAME, &[name]);
}

fn address(net: &Net, name: &str) -> String {
    net.engine.inspect(name, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn a_container_is_reached_from_its_host_and_leaves_nothing() {
    let net = Net::new();
    let before = net.devices_and_tables();
    serve(&net, "web", &[]);
    assert_eq!(address(&net, "web"), "10.88.0.2");
    assert_eq!(net.ask(HOST, "10.88.0.2:80").as_deref(), Some("web"));
    let settings = "{{.NetworkSettings.Gateway}} {{.NetworkSettings.IPPrefixLen}} \
                    {{.NetworkSettings.MacAddress}} {{.NetworkSettings.Networks.bridge.IPAddress}}";
    assert_eq!(net.engine.inspect("web", settings), "10.88.0.1 16 02:42:0a:58:00:02 10.88.0.2");
    let seen = net.engine.run(&["exec", "web", "sh", "-c", "cat /sys/class/net/eth0/address"]);
    assert_eq!(seen, "02:42:0a:58:00:02\n");
    let network = net.engine.run(&["network", "inspect", "bridge"]);
    assert!(network.contains("\"IPv4Address\": \"10.88.0.2/16\""), "{network}");
    assert_ne!(net.devices_and_tables(), before);
    net.engine.run(&["stop", "-t", "0", "web"]);
    assert_eq!(net.devices_and_tables(), before);
    assert_eq!(address(&net, "web"), "");
    net.engine.run(&["start", "web"]);
    assert_eq!(address(&net, "web"), "10.88.0.2", "it gets its address again if that is free");
    net.engine.run(&["rm", "-f", "web"]);
    assert_eq!(net.devices_and_tables(), before);
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    let net = Net::new();
    serve(&net, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", "5353:53/udp"]);
    serve(&net, "client", &["--expose", "443"]);
    for place in [HOST, OUTSIDE] {
        assert_eq!(net.ask(place, "192.0.2.1:8080").as_deref(), Some("web"), "{place:?}");
    }
    assert_eq!(net.ask(HOST, "127.0.0.1:8080").as_deref(), Some("web"));
    assert_eq!(net.ask(HOST, "127.0.0.1:8081").as_deref(), Some("web"));
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8081"), None, "it is published on loopback only");
    for target in ["192.0.2.1:8080", "10.88.0.1:8080"] {
        assert_eq!(net.ask_from_container("client", target).as_deref(), Some("web"), "{target}");
        assert_eq!(
            net.ask_from_container("web", target).as_deref(),
            Some("web"),
            "itself, {target}"
        );
    }
    let expect = "53/udp -> 0.0.0.0:5353\n53/udp -> [::]:5353\n80/tcp -> 0.0.0.0:8080\n\
                  80/tcp -> 127.0.0.1:8081\n80/tcp -> [::]:8080\n";
    let mut lines: Vec<String> =
        net.engine.run(&["port", "web"]).lines().map(|line| format!("{line}\n")).collect();
    lines.sort();
    assert_eq!(lines.concat(), expect);
    assert_eq!(net.engine.run(&["port", "web", "53/udp"]), "0.0.0.0:5353\n[::]:5353\n");
    assert_eq!(net.engine.try_run(&["port", "web", "81"]).code, 1);
    let column = |name: &str| {
        let filter = format!("name={name}");
        net.engine.run(&["ps", "--filter", &filter, "--format", "{{.Ports}}"])
    };
    assert_eq!(
        column("web"),
        "0.0.0.0:8080->80/tcp, 0.0.0.0:5353->53/udp, 127.0.0.1:8081->80/tcp, [::]:8080->80/tcp, \
         [::]:5353->53/udp\n"
    );
    assert_eq!(column("client"), "443/tcp\n");
    let ports = net.engine.inspect("web", "{{json .NetworkSettings.Ports}}");
    let datagrams =
        r#""53/udp":[{"HostIp":"0.0.0.0","HostPort":"5353"},{"HostIp":"::","HostPort":"5353"}]"#;
    assert!(ports.contains(datagrams), "{ports}");
    assert_eq!(
        net.engine.inspect("client", "{{json .NetworkSettings.Ports}}"),
        r#"{"443/tcp":null}"#
    );
}

/// There is no way out of the host from its loopback address of IPv6, and no address of that family in the
/// network.
#[test]
fn published_ports_are_reached_over_ipv6_as_well() {
    let net = Net::new();
    net.ip(HOST, "-6 address add 2001:db8::1/64 dev lo nodad");
    let ports = ["-p", "8080:80", "-p", "[::1]:8081:80", "-p", "0.0.0.0:8082:80"];
    serve(&net, "web", &ports);
    for target in ["[::1]:8080", "[2001:db8::1]:8080", "[::1]:8081"] {
        assert_eq!(net.ask(HOST, target).as_deref(), Some("web"), "{target}");
    }
    for target in ["[::1]:8082", "[2001:db8::1]:8081", "127.0.0.1:8081"] {
        assert_eq!(net.ask(HOST, target), None, "{target}");
    }
    assert!(net.try_listen(HOST, "[::]:8080").is_none(), "it is the container's");
    net.engine.run(&["checkpoint", "create", "web", "one"]);
    assert_eq!(net.ask(HOST, "[::1]:8080"), None);
    net.engine.run(&["start", "--checkpoint", "one", "web"]);
    assert_eq!(net.ask(HOST, "[::1]:8080").as_deref(), Some("web"));
    // Nobody is left to speak for a container that has lost its monitor.
    let monitor: i32 = net.engine.inspect("web", "{{.State.MonitorPid}}").parse().unwrap();
    let monitor = rustix::process::Pid::from_raw(monitor).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    net.engine.eventually("the port is free", || net.try_listen(HOST, "[::1]:8080").is_some());
    net.engine.run(&["rm", "-f", "web"]);
}

#[test]
fn a_network_with_ipv6_is_reached_by_the_loopback_address_too() {
    let net = Net::new();
    net.engine.run(&["network", "create", "--ipv6", "six"]);
    serve(&net, "web", &["--network", "six", "-p", "8080:80"]);
    for target in ["127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(net.ask(HOST, target).as_deref(), Some("web"), "{target}");
    }
}

#[test]
fn much_goes_through_the_loopback_address_and_the_ends_with_it() {
    let net = Net::new();
    // Answers with all that it was sent when that has come to its end.
    let mirror = "import socket
s = socket.socket(); s.bind(('', 80)); s.listen(50); print('ready', flush=True)
while True:
    c, _ = s.accept(); all = b''
    while data := c.recv(65536): all += data
    c.sendall(all); c.close()";
    net.start_python("mirror", &["-p", "8080:80"], mirror, &[]);
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let came = net.within(HOST, {
        let sent = sent.clone();
        move || {
            let mut stream = std::net::TcpStream::connect("[::1]:8080").unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            std::io::Write::write_all(&mut stream, &sent).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut came = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut came).unwrap();
            came
        }
    });
    assert!(came.join().unwrap() == sent, "what came back is not what was sent");
}

#[test]
fn datagrams_are_published_too() {
    let net = Net::new();
    let echo = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53)); print('ready', flush=True)
while True:
    data, who = s.recvfrom(100); s.sendto(b'echo ' + data, who)";
    net.start_python("dns", &["-p", "5353:53/udp"], echo, &[]);
    for (place, target) in [
        (OUTSIDE, "192.0.2.1:5353"),
        (HOST, "127.0.0.1:5353"),
        (HOST, "192.0.2.1:5353"),
        (HOST, "[::1]:5353"),
    ] {
        assert_eq!(net.ask_by_datagram(place, target).as_deref(), Some("echo x"), "{target}");
    }
}

/// The flow of somebody who never stops sending must not stay where the first datagram went.
#[test]
fn datagrams_find_a_container_that_comes_later_or_comes_again() {
    let net = Net::new();
    let echo = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53)); print('ready', flush=True)
while True:
    data, who = s.recvfrom(100); s.sendto(sys.argv[1].encode(), who)";
    let sender = net.datagram_sender(OUTSIDE, "192.0.2.1:5353");
    assert_eq!(net.exchange_datagrams(&sender), None, "nobody is there yet");
    for (name, address) in [("one", "10.88.0.50"), ("two", "10.88.0.60")] {
        net.start_python(name, &["-p", "5353:53/udp", "--ip", address], echo, &[name]);
        assert_eq!(net.exchange_datagrams(&sender).as_deref(), Some(name));
        net.engine.run(&["rm", "-f", name]);
        assert_eq!(net.exchange_datagrams(&sender), None, "it is gone");
    }
}

#[test]
fn taken_ports_are_refused_with_their_holder() {
    let net = Net::new();
    serve(&net, "one", &["-p", "8080:80"]);
    let run = |options: &[&str]| {
        let args = [&["run", "-d", "--network", "bridge", "--rootfs", "/:O"], options, &["true"]];
        net.engine.try_run(&args.concat())
    };
    let refused = run(&["--name", "two", "-p", "8080:80"]);
    assert_eq!(refused.code, 125);
    assert!(
        refused.err.contains("0.0.0.0:8080/tcp is already in use by container one"),
        "{refused:?}"
    );
    assert_eq!(net.engine.inspect("two", "{{.State.Status}}"), "created");
    let _listener = net.listen(HOST, "0.0.0.0:9999");
    let refused = run(&["-p", "9999:80"]);
    assert!(refused.err.contains("another program of this host"), "{refused:?}");
    // And the other way round: what is published is nobody else's.
    assert!(net.try_listen(HOST, "0.0.0.0:8080").is_none());
    // A range has room, and a free port is found.
    serve(&net, "three", &["-p", "8080-8082:80"]);
    assert_eq!(net.engine.run(&["port", "three", "80"]), "0.0.0.0:8081\n[::]:8081\n");
    serve(&net, "four", &["-P", "--expose", "80"]);
    let port = net.engine.run(&["port", "four", "80"]);
    let port = port.trim().rsplit(':').next().unwrap();
    assert_eq!(net.ask(OUTSIDE, &format!("192.0.2.1:{port}")).as_deref(), Some("four"));
    net.engine.run(&["rm", "-f", "one"]);
    net.engine.run(&["start", "two"]);
}

#[test]
fn containers_reach_the_outside_in_the_name_of_their_host() {
    let net = Net::new();
    let who = net.serve_who(OUTSIDE, "192.0.2.2:9000");
    serve(&net, "web", &[]);
    assert_eq!(net.ask_from_container("web", "192.0.2.2:9000").as_deref(), Some("192.0.2.1"));
    // Nobody comes in unasked, also if he knows the way.
    net.ip(OUTSIDE, "route add 10.88.0.0/16 via 192.0.2.1");
    assert_eq!(net.ask(OUTSIDE, "10.88.0.2:80"), None);
    net.engine.run(&["network", "create", "--internal", "in"]);
    serve(&net, "inside", &["--network", "in"]);
    assert_eq!(net.ask_from_container("inside", "192.0.2.2:9000"), None);
    drop(who);
}

#[test]
fn networks_are_apart_and_know_names() {
    let net = Net::new();
    for name in ["red", "blue"] {
        net.engine.run(&["network", "create", name]);
    }
    serve(&net, "r1", &["--network", "red", "--network-alias", "db"]);
    serve(&net, "r2", &["--network", "red"]);
    serve(&net, "b1", &["--network", "blue"]);
    for name in ["r1", "db", &net.engine.inspect("r1", "{{.Id}}")[..12]] {
        let answer = net.ask_from_container("r2", &format!("{name}:80"));
        assert_eq!(answer.as_deref(), Some("r1"), "{name}");
    }
    let red = address(&net, "r1");
    assert_eq!(net.ask_from_container("b1", &format!("{red}:80")), None);
    assert_eq!(net.ask_from_container("b1", "r1:80"), None);
    net.engine.run(&["rename", "r1", "first"]);
    assert_eq!(net.ask_from_container("r2", "first:80").as_deref(), Some("r1"));
    net.engine.run(&["rename", "first", "r1"]);
    // In the middle of their lives.
    net.engine.run(&["network", "connect", "--alias", "newcomer", "red", "b1"]);
    assert_eq!(net.ask_from_container("b1", "r1:80").as_deref(), Some("r1"));
    assert_eq!(net.ask_from_container("r1", "newcomer:80").as_deref(), Some("b1"));
    let both = net.engine.run(&["ps", "--filter", "name=b1", "--format", "{{.Networks}}"]);
    assert_eq!(both, "blue,red\n");
    net.engine.run(&["network", "disconnect", "blue", "b1"]);
    assert_eq!(net.ask_from_container("b1", "r1:80").as_deref(), Some("r1"));
    net.engine.run(&["network", "disconnect", "red", "b1"]);
    assert_eq!(net.ask_from_container("r1", "newcomer:80"), None);
    let knows = |name: &str, other: &str| {
        let hosts = net.engine.run(&["exec", name, "cat", "/etc/hosts"]);
        hosts.split_whitespace().any(|word| word == other)
    };
    assert!(knows("r1", "r2") && !knows("r1", "b1"));
    let refused = net.engine.try_run(&["network", "rm", "red"]);
    assert!(refused.err.contains("in use by container r1, r2"), "{refused:?}");
    net.engine.run(&["rm", "-f", "r1"]);
    assert!(!knows("r2", "r1"));
    net.engine.run(&["rm", "-f", "r2", "b1"]);
    assert_eq!(net.engine.run(&["network", "prune", "-f"]), "Deleted Networks:\nblue\nred\n\n");
}

#[test]
fn networks_are_made_listed_and_removed() {
    let net = Net::new();
    let id = net.engine.run(&["network", "create", "--label", "a=b", "--ipv6", "n"]);
    let id = id.trim();
    assert_eq!(
        net.engine.run(&["network", "ls", "-q", "--no-trunc", "--filter", "label=a=b"]).trim(),
        id
    );
    let table = net.engine.run(&["network", "ls"]);
    let header = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(header, ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]);
    let names = net.engine.run(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(names, "bridge bridge\nn bridge\nhost host\nnone null\n");
    let subnets = net.engine.run(&["network", "inspect", "-f", "{{json .IPAM.Config}}", &id[..6]]);
    assert!(subnets.contains("\"10.89.0.0/24\"") && subnets.contains("\"fd"), "{subnets}");
    let refused = |args: &[&str], expect: &str| {
        let done = net.engine.try_run(&[&["network"], args].concat());
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains(expect), "{done:?}");
    };
    refused(&["create", "n"], "already in use");
    refused(&["create", "a/b"], "not a valid network name");
    refused(&["create", "host"], "cannot be the name");
    refused(&["create", "-d", "macvlan", "m"], "not supported");
    refused(&["create", "--subnet", "10.89.0.0/25", "m"], "in use by network n");
    refused(&["create", "--subnet", "192.0.2.0/25", "m"], "route to 192.0.2.0/24 of this host");
    refused(
        &["create", "--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "m"],
        "none of the subnets",
    );
    refused(&["create", "--opt", "colour=red", "m"], "unknown option");
    refused(&["rm", "bridge"], "cannot be removed");
    refused(&["rm", "nobody"], "no such network: nobody");
    net.engine.run(&["network", "rm", "-f", "nobody", "n"]);
    assert_eq!(net.engine.run(&["network", "ls", "--filter", "type=custom", "-q"]), "");
    let missing = net.engine.try_run(&["run", "--network", "n", "--rootfs", "/:O", "true"]);
    assert_eq!(missing.code, 125);
    assert!(missing.err.contains("no such network: n"), "{missing:?}");
}

#[test]
fn wishes_about_addresses_and_names_are_followed() {
    let net = Net::new();
    let create =
        ["--subnet", "10.7.0.0/24", "--gateway", "10.7.0.254", "--ip-range", "10.7.0.64/30"];
    net.engine.run(&[&["network", "create"], create.as_slice(), &["n"]].concat());
    let options = [
        "--network",
        "n",
        "--ip",
        "10.7.0.9",
        "--mac-address",
        "02:00:00:00:00:07",
        "--hostname",
        "own",
        "--dns",
        "9.9.9.9",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:3",
        "--add-host",
        "up:host-gateway",
        "--add-host",
        "six:::1",
    ];
    serve(&net, "c", &options);
    let format =
        "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}} {{.Config.Hostname}}";
    assert_eq!(net.engine.inspect("c", format), "10.7.0.9 02:00:00:00:00:07 own");
    let resolver = net.engine.run(&["exec", "c", "grep", "-v", "^#", "/etc/resolv.conf"]);
    assert_eq!(resolver, "nameserver 9.9.9.9\nsearch example.org\noptions ndots:3\n");
    let hosts = net.engine.run(&["exec", "c", "cat", "/etc/hosts"]);
    for line in ["10.7.0.9\town c ", "10.7.0.254\tup\n", "::1\tsix\n"] {
        assert!(hosts.contains(line), "{line:?} is not in {hosts}");
    }
    let drawn: Vec<String> = ["d", "e", "f", "g"]
        .iter()
        .map(|name| {
            serve(&net, name, &["--network", "n"]);
            address(&net, name)
        })
        .collect();
    assert_eq!(drawn, ["10.7.0.64", "10.7.0.65", "10.7.0.66", "10.7.0.67"]);
    let run = |options: &[&str]| {
        let args = [&["run", "--rm", "--network", "n", "--rootfs", "/:O"], options, &["true"]];
        net.engine.try_run(&args.concat()).err
    };
    assert!(run(&[]).contains("network n has no free address left"), "{}", run(&[]));
    assert!(run(&["--ip", "10.7.0.9"]).contains("is already in use by container c"));
    // An address of one's own choice is kept also while the container does not run.
    net.engine.run(&["stop", "-t", "0", "c"]);
    assert!(run(&["--ip", "10.7.0.9"]).contains("is already in use by container c"));
    net.engine.run(&["rm", "c"]);
    assert_eq!(run(&["--ip", "10.7.0.9"]), "");
    for (options, expect) in [
        (["--network", "host", "--ip", "10.7.0.9"], "--ip means nothing with --network host"),
        (["--ip", "10.7.0.9", "--network", "none"], "cannot be combined"),
    ] {
        let done = run(&options);
        assert!(done.contains(expect) || done.contains("cannot be combined"), "{done}");
    }
}

#[test]
fn a_network_can_be_shared() {
    let net = Net::new();
    serve(&net, "web", &["-p", "8080:80", "--hostname", "webhost"]);
    let join = ["run", "-d", "--name", "side", "--network", "container:web", "--rootfs", "/:O"];
    net.engine.run(&[&join[..], &["sleep", "1000"]].concat());
    assert_eq!(net.ask_from_container("side", "127.0.0.1:80").as_deref(), Some("web"));
    let hosts = |name: &str| net.engine.run(&["exec", name, "cat", "/etc/hosts"]);
    assert_eq!(hosts("side"), hosts("web"));
    let refused = net.engine.try_run(&["checkpoint", "create", "side", "x"]);
    assert!(refused.err.contains("shares the network of container"), "{refused:?}");
    net.engine.run(&["rm", "-f", "side"]);
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("web"), "it stays");
    net.engine.run(&["stop", "-t", "0", "web"]);
    let refused = net.engine.try_run(&[&join[..], &["true"]].concat());
    assert!(refused.err.contains("container web is not running"), "{refused:?}");
}

#[test]
fn fifty_at_once_get_fifty_addresses() {
    let net = Net::new();
    let names: Vec<String> = (0..50).map(|n| format!("c{n}")).collect();
    let engine = &net.engine;
    scope(|scope| {
        for some in names.chunks(10) {
            scope.spawn(move || {
                for name in some {
                    let args =
                        ["run", "-d", "--name", name, "--network", "bridge", "--rootfs", "/:O"];
                    engine.run(&[&args[..], &["sleep", "1000"]].concat());
                }
            });
        }
    });
    let leases: BTreeSet<String> = names.iter().map(|name| address(&net, name)).collect();
    assert_eq!(leases.len(), 50, "{leases:?}");
    assert!(leases.iter().all(|address| address.parse::<IpAddr>().is_ok()), "{leases:?}");
    let ids = net.engine.run(&["ps", "-q"]);
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.lines()).collect();
    net.engine.run(&remove);
    assert_eq!(net.engine.leftovers(), Vec::<String>::new());
}

#[test]
fn what_killed_monitors_leave_goes_with_the_next_command() {
    let net = Net::new();
    let before = net.devices_and_tables();
    serve(&net, "web", &["-p", "8080:80"]);
    net.kill(&net.engine.inspect("web", "{{.State.MonitorPid}}"));
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("web"), "it runs on");
    let run = ["run", "--network", "bridge", "-p", "8080:80", "--rootfs", "/:O", "true"];
    let taken = net.engine.try_run(&run);
    assert!(taken.err.contains("in use by container web"), "{taken:?}");
    net.kill(&net.engine.inspect("web", "{{.State.Pid}}"));
    net.engine.eventually("it is swept", || {
        net.engine.run(&["ps", "-q"]);
        net.devices_and_tables() == before
    });
    assert_eq!(net.engine.run(&run), "");
    assert_eq!(net.devices_and_tables(), before);
}

#[test]
fn published_ports_follow_to_the_next_network() {
    let net = Net::new();
    net.engine.run(&["network", "create", "n"]);
    serve(&net, "web", &["--network", "bridge", "--network", "n", "-p", "8080:80"]);
    let addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    assert_eq!(net.engine.inspect("web", addresses), "10.88.0.2 10.89.0.2");
    net.engine.run(&["network", "disconnect", "bridge", "web"]);
    assert_eq!(net.engine.inspect("web", addresses), "10.89.0.2");
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("web"));
    assert_eq!(net.ask(HOST, "127.0.0.1:8080").as_deref(), Some("web"));
    assert_eq!(net.ask_from_container("web", "192.0.2.1:8080").as_deref(), Some("web"));
    let format = "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}";
    assert_eq!(net.engine.inspect("web", format), "8080");
}

#[test]
fn both_families_where_asked_for() {
    let net = Net::new();
    net.engine.run(&["network", "create", "--ipv6", "--subnet", "fd00:1::/64", "n"]);
    let server = "import socket
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready', flush=True)
while True:
    c, _ = s.accept(); c.sendall(b'six'); c.close()";
    net.start_python("six", &["--network", "n", "-p", "8080:80"], server, &[]);
    assert_eq!(net.engine.inspect("six", "{{.NetworkSettings.GlobalIPv6Address}}"), "fd00:1::2");
    net.ip(HOST, "addr add 2001:db8::1/64 dev wire nodad");
    net.ip(OUTSIDE, "addr add 2001:db8::2/64 dev wire nodad");
    for (place, target) in
        [(HOST, "[fd00:1::2]:80"), (OUTSIDE, "[2001:db8::1]:8080"), (OUTSIDE, "192.0.2.1:8080")]
    {
        assert_eq!(net.ask(place, target).as_deref(), Some("six"), "{target}");
    }
    serve(&net, "client", &["--network", "n"]);
    assert_eq!(net.ask_from_container("client", "fd00:1::2:80").as_deref(), Some("six"));
    let who = net.serve_who(OUTSIDE, "[::]:9000");
    let seen = net.ask_from_container("client", "2001:db8::2:9000");
    assert_eq!(seen.as_deref(), Some("2001:db8::1"));
    drop(who);
}

#[test]
fn a_restart_keeps_the_address() {
    let net = Net::new();
    let program = "import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 80))
s.listen(5); print('ready', flush=True)
c, _ = s.accept(); c.sendall(b'once'); c.close(); sys.exit(1)";
    net.start_python("c", &["--restart", "always", "-p", "8080:80"], program, &[]);
    let at = address(&net, "c");
    serve(&net, "neighbour", &[]);
    for _ in 0..2 {
        net.engine.eventually("it serves", || net.ask(OUTSIDE, "192.0.2.1:8080").is_some());
    }
    net.engine.eventually("it is up", || address(&net, "c") == at);
}

#[test]
fn tables_in_the_way_are_told() {
    let net = Net::new();
    let rules = "add table inet strict; add chain inet strict forward \
                 { type filter hook forward priority 0; policy drop; }";
    net.nft(HOST, rules);
    let args = ["run", "--rm", "--network", "bridge", "--rootfs", "/:O", "true"];
    let told = net.engine.try_run(&args);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("table strict has the policy drop"), "{told:?}");
    assert_eq!(net.devices_and_tables().last().unwrap(), "strict");
    let args = ["run", "--rm", "-p", "80:80", "--network", "host", "--rootfs", "/:O", "true"];
    let told = net.engine.try_run(&args);
    assert!(told.err.contains("no port is published"), "{told:?}");
}

#[test]
fn others_rules_and_devices_are_left_alone() {
    let net = Net::new();
    net.ip(HOST, "link add stasis0 type bridge");
    let before = net.devices_and_tables();
    serve(&net, "web", &["-p", "8080:80"]);
    let device = "{{index .Options \"com.docker.network.bridge.name\"}}";
    assert_eq!(net.engine.run(&["network", "inspect", "-f", device, "bridge"]), "stasis1\n");
    net.engine.run(&["rm", "-f", "web"]);
    assert_eq!(net.devices_and_tables(), before);
}

#[test]
fn a_counter_goes_on_at_its_address() {
    let mut net = Net::new();
    let counter = "import http.server
n = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global n
        self.send_response(200); self.end_headers(); self.wfile.write(str(n).encode()); n += 1
    def log_message(self, *args): pass
server = http.server.HTTPServer(('', 8088), Handler); print('ready', flush=True)
server.serve_forever()";
    net.start_python("criu-test", &["-p", "8088:8088"], counter, &[]);
    let at = address(&net, "criu-test");
    let target = format!("{at}:8088");
    let count = |net: &Net, target: &str| net.get(HOST, target);
    assert_eq!(count(&net, &target).as_deref(), Some("0"));
    assert_eq!(count(&net, &target).as_deref(), Some("1"));
    net.engine.run(&["checkpoint", "create", "criu-test", "x"]);
    assert_eq!(count(&net, &target), None);
    net.engine.run(&["start", "--checkpoint", "x", "criu-test"]);
    assert_eq!(address(&net, "criu-test"), at);
    assert_eq!(count(&net, &target).as_deref(), Some("2"));
    assert_eq!(net.get(OUTSIDE, "192.0.2.1:8088").as_deref(), Some("3"));
    // A reboot: processes, devices, rules and everything below /run are gone.
    net.engine.run(&["checkpoint", "create", "criu-test", "y"]);
    net.reboot();
    assert_eq!(count(&net, &target), None);
    net.engine.run(&["start", "--checkpoint", "y", "criu-test"]);
    assert_eq!(address(&net, "criu-test"), at);
    assert_eq!(count(&net, &target).as_deref(), Some("4"));
    // A machine that lost power has nothing written down of the end.
    net.kill(&net.engine.inspect("criu-test", "{{.State.MonitorPid}}"));
    net.kill(&net.engine.inspect("criu-test", "{{.State.Pid}}"));
    net.reboot();
    net.engine.run(&["start", "--checkpoint", "y", "criu-test"]);
    assert_eq!(count(&net, &target).as_deref(), Some("4"));
    assert_eq!(net.get(OUTSIDE, "192.0.2.1:8088").as_deref(), Some("5"));
    // Somebody else has taken its address, or its port, meanwhile.
    net.engine.run(&["stop", "-t", "0", "criu-test"]);
    serve(&net, "other", &["--ip", &at]);
    let refused = net.engine.try_run(&["start", "--checkpoint", "x", "criu-test"]);
    let expect = format!("address {at} of network bridge is already in use by container other");
    assert!(refused.err.contains(&expect), "{refused:?}");
    net.engine.run(&["rm", "-f", "other"]);
    serve(&net, "other", &["-p", "8088:80"]);
    let refused = net.engine.try_run(&["start", "--checkpoint", "x", "criu-test"]);
    assert!(refused.err.contains("8088/tcp is already in use by container other"), "{refused:?}");
    net.engine.run(&["rm", "-f", "other"]);
    net.engine.run(&["start", "--checkpoint", "x", "criu-test"]);
    assert_eq!(count(&net, &target).as_deref(), Some("2"));
}

#[test]
fn a_rewound_container_keeps_its_address_and_ports() {
    let net = Net::new();
    let before = net.devices_and_tables();
    serve(&net, "web", &["-p", "8080:80"]);
    let at = address(&net, "web");
    net.engine.run(&["checkpoint", "create", "--leave-running", "web", "x"]);
    for options in [&["rewind", "web", "x"][..], &["rewind", "--force", "web", "x"]] {
        net.engine.run(options);
        assert_eq!(address(&net, "web"), at);
        assert_eq!(net.ask(HOST, &format!("{at}:80")).as_deref(), Some("web"));
        assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8080").as_deref(), Some("web"));
    }
    net.engine.run(&["container", "restore", "web/x", "--name", "twin", "--publish", "8081:80"]);
    assert_ne!(address(&net, "twin"), at);
    assert_eq!(net.ask(OUTSIDE, "192.0.2.1:8081").as_deref(), Some("web"));
    let taken = net.engine.try_run(&["container", "restore", "web/x", "--name", "third"]);
    assert!(taken.err.contains("8080/tcp is already in use by container web"), "{taken:?}");
    assert!(taken.err.contains("--publish"), "{taken:?}");
    assert_eq!(net.engine.run(&["ps", "-aq", "--filter", "name=third"]), "");
    net.engine.run(&["rm", "-f", "web", "twin"]);
    assert_eq!(net.devices_and_tables(), before);
}
