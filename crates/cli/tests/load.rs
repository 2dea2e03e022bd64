//! Servers that are frozen, brought back, rewound and moved under load: not one lost write, not one wrong
//! answer, and nobody who waits for ever.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod load_support;
mod network_support;
mod process_support;
mod server_support;

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use container_support::{Engine, way_to};
use load_support::{
    ledger::{self, Account, Writer, check_pgbench},
    requests::{Load, On, Outcome, Request},
};
use network_support::{HOST, Net, OUTSIDE, Place};
use server_support::postgres;

const NAME: &str = "server";

/// Starts postgres on a new cluster in a volume, open to everybody.
const POSTGRES: &str = "chown postgres /data
as='setpriv --reuid postgres --regid postgres --clear-groups'
$as $BIN/initdb -D /data/pg -A trust --no-sync --no-locale -E UTF8 -U postgres > /dev/null
echo 'host all all 0.0.0.0/0 trust' >> /data/pg/pg_hba.conf
exec $as $BIN/postgres -D /data/pg -k /tmp -c listen_addresses='*' -c fsync=off";

/// By its address, and by the published port from another host.
const WAYS: [(Place, &str); 2] = [(HOST, "10.88.0.2:5432"), (OUTSIDE, "192.0.2.1:5432")];

fn start_postgres(net: &Net) {
    let postgres = postgres::program("postgres").expect("these tests need Debian's postgresql");
    let bin = format!("BIN={}", postgres.parent().unwrap().display());
    let options = ["--network", "bridge", "-p", "5432:5432", "-v", "data:/data", "-e", &bin];
    net.engine.start(NAME, &options, POSTGRES);
    ledger::prepare(&mut ledger::open(net, HOST, WAYS[0].1), 4);
}

fn start_writers(net: &Net) -> Vec<Writer> {
    (0..4).zip(WAYS.iter().cycle()).map(|(client, way)| Writer::start(net, client, *way)).collect()
}

fn stop(writers: Vec<Writer>) -> Vec<Account> {
    writers.into_iter().map(Writer::stop).collect()
}

/// pgbench at the address of the container; killed with its owner.
struct Pgbench(Child);

impl Pgbench {
    fn start(net: &Net, seconds: u32) -> Pgbench {
        let pgbench = postgres::program("pgbench").unwrap();
        let command = |args: &[&str]| {
            let mut command = net.command(HOST, pgbench.to_str().unwrap());
            command.args(["-h", "10.88.0.2", "-U", "postgres", "-n"]).args(args);
            command
        };
        let done = command(&["-i", "-q", "postgres"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let seconds = seconds.to_string();
        let mut bench = command(&["-c", "2", "-T", &seconds, "postgres"]);
        Pgbench(bench.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// The number of transactions, none of which may have failed.
    fn finish(mut self) -> String {
        let status = container_support::wait_for(&mut self.0, Duration::from_secs(60));
        let output = std::io::read_to_string(self.0.stdout.take().unwrap()).unwrap();
        assert!(status.success(), "{output}");
        assert!(output.contains("number of failed transactions: 0 "), "{output}");
        let counted = output.lines().find_map(|line| {
            line.strip_prefix("number of transactions actually processed: ").map(str::to_owned)
        });
        counted.expect(&output)
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn postgres_loses_nothing_over_checkpoints() {
    let net = Net::new();
    start_postgres(&net);
    let writers = start_writers(&net);
    let bench = Pgbench::start(&net, 8);
    let archive = net.engine.dir.path().join("archive.tar.zst").display().to_string();
    let orders: [&[&str]; 10] = [
        &["checkpoint", "create", "--leave-running", NAME, "a"],
        &["checkpoint", "create", NAME, "b"],
        &["start", "--checkpoint", "b", NAME],
        &["container", "checkpoint", NAME],
        &["container", "restore", "--keep", NAME],
        &["container", "checkpoint", NAME],
        &["container", "restore", NAME],
        &["container", "checkpoint", "--export", &archive, NAME],
        &["rm", "-v", NAME],
        &["container", "restore", "--import", &archive],
    ];
    for order in orders {
        net.engine.run(order);
        if order[0] == "rm" {
            net.engine.run(&["volume", "rm", "data"]);
        }
        sleep(Duration::from_millis(200));
    }
    let accounts = stop(writers);
    let nr_transactions = bench.finish();
    let mut session = ledger::open(&net, HOST, WAYS[0].1);
    for account in accounts {
        assert!(account.unknown.is_empty(), "a connection was lost: {:?}", account.unknown);
        assert!(account.entries.len() > 100, "{}", account.entries.len());
        account.check(&mut session);
    }
    check_pgbench(&mut session);
    assert_eq!(session.ask("SELECT count(*) FROM pgbench_history"), [nr_transactions]);
}

#[test]
fn postgres_goes_back_to_exactly_its_checkpoint() {
    let net = Net::new();
    start_postgres(&net);
    let bench = Pgbench::start(&net, 60);
    let writers = start_writers(&net);
    sleep(Duration::from_millis(500));
    let begun = Instant::now();
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "then"]);
    let taken = Instant::now();
    sleep(Duration::from_millis(500));
    let back = Instant::now();
    net.engine.run(&["rewind", NAME, "then"]);
    let gone_on = Instant::now();
    sleep(Duration::from_millis(1000));
    drop(bench);
    let mut session = ledger::open(&net, OUTSIDE, WAYS[1].1);
    for account in stop(writers) {
        assert_eq!(account.unknown.len(), 1, "not told once: {:?}", account.unknown);
        account.check_but_for(
            &mut session,
            |entry| entry.acknowledged < begun || entry.sent > gone_on,
            |entry| entry.sent > taken && entry.acknowledged < back,
        );
        let between = |entry: &&ledger::Entry| entry.sent > taken && entry.acknowledged < back;
        assert!(account.entries.iter().filter(between).count() > 10, "nothing was to be undone");
        assert!(account.entries.iter().any(|entry| entry.sent > gone_on), "it did not go on");
    }
    check_pgbench(&mut session);
}

#[test]
fn postgres_moves_with_all_that_it_acknowledged() {
    let net = Net::new();
    let there = net.engine_outside();
    start_postgres(&net);
    let bench = Pgbench::start(&net, 60);
    let writers = start_writers(&net);
    sleep(Duration::from_millis(500));
    let begun = Instant::now();
    net.engine.run(&["container", "migrate", NAME, "--via", &way_to(&there)]);
    sleep(Duration::from_millis(500));
    drop(bench);
    let mut session = ledger::open(&net, HOST, "192.0.2.2:5432");
    for account in stop(writers) {
        assert_eq!(account.unknown.len(), 1, "not told once: {:?}", account.unknown);
        assert!(account.entries.iter().any(|entry| entry.sent > begun), "it stood still too long");
        account.check(&mut session);
    }
    check_pgbench(&mut session);
    assert_eq!(there.run(&["volume", "ls", "-q"]), "data\n");
}

fn start_nginx(net: &Net) {
    let dir = net.engine.dir.path();
    let configuration = dir.join("nginx.conf").display().to_string();
    let text = "daemon off; worker_processes 2; pid /tmp/nginx.pid; error_log stderr;
        events { worker_connections 1024; }
        http { access_log off; keepalive_requests 1000000;
          server { listen 80; location / { return 200 \"$request_uri\"; } } }";
    std::fs::write(&configuration, text).unwrap();
    let run = ["run", "-d", "--name", NAME, "--network", "bridge", "-p", "8080:80"];
    let nginx = ["--rootfs", "/:O", "nginx", "-c", &configuration];
    net.engine.run(&[&run[..], &nginx].concat());
    net.engine.eventually("nginx serves", || net.get(OUTSIDE, "192.0.2.1:8080").is_some());
}

/// From an order until it was obeyed.
type Meanwhile = (Instant, Instant);

fn obey(engine: &Engine, order: &[&str]) -> Meanwhile {
    let begun = Instant::now();
    engine.run(order);
    (begun, Instant::now())
}

/// Every request was answered right, but for those that `may_be_told` something else.
fn check_requests(requests: &[Request], may_be_told: impl Fn(&Request) -> bool) {
    for request in requests {
        let is_right = match &request.outcome {
            Outcome::Right => true,
            Outcome::Told(_) => may_be_told(request),
            Outcome::Wrong(_) => false,
        };
        assert!(is_right, "{request:?}, the first one {:?}", requests[0].sent);
    }
    let took = requests.last().unwrap().ended - requests[0].sent;
    let rate = requests.len() as f64 / took.as_secs_f64();
    assert!(rate > 100.0, "{rate} requests a second are no load");
}

fn is_in(request: &Request, (begun, ended): &Meanwhile) -> bool {
    request.sent <= *ended && request.ended >= *begun
}

fn nr_right_after(requests: &[Request], instant: Instant) -> usize {
    let right = |request: &&Request| request.sent > instant && request.outcome == Outcome::Right;
    requests.iter().filter(right).count()
}

#[test]
fn nginx_answers_all_requests_over_checkpoints() {
    let net = Net::new();
    start_nginx(&net);
    let load = Load::start(&net, OUTSIDE, "192.0.2.1:8080");
    sleep(Duration::from_millis(500));
    let mut away = Vec::new();
    let rounds: [&[&[&str]]; 3] = [
        &[&["checkpoint", "create", "--leave-running", NAME, "a"]],
        &[&["checkpoint", "create", NAME, "b"], &["start", "--checkpoint", "b", NAME]],
        &[&["container", "checkpoint", NAME], &["container", "restore", NAME]],
    ];
    for orders in rounds {
        let times: Vec<Meanwhile> = orders.iter().map(|order| obey(&net.engine, order)).collect();
        if let [first, .., last] = times[..] {
            away.push((first.0, last.1));
        }
        sleep(Duration::from_millis(700));
    }
    let requests = load.stop();
    // Nobody listens then, and who was not yet accepted is reset; who was accepted waits.
    check_requests(&requests, |request| {
        request.on == On::FreshConnection && away.iter().any(|times| is_in(request, times))
    });
    assert!(nr_right_after(&requests, away[1].1) > 80, "the load did not go on");
}

#[test]
fn nginx_is_rewound_and_moves_under_load() {
    let net = Net::new();
    let there = net.engine_outside();
    start_nginx(&net);
    net.engine.run(&["checkpoint", "create", "--leave-running", NAME, "a"]);
    let load = Load::start(&net, OUTSIDE, "192.0.2.1:8080");
    sleep(Duration::from_millis(500));
    let rewound = obey(&net.engine, &["rewind", NAME, "a"]);
    sleep(Duration::from_millis(700));
    let requests = load.stop();
    check_requests(&requests, |request| is_in(request, &rewound));
    assert!(nr_right_after(&requests, rewound.1) > 80, "the load did not go on");

    let load = Load::start(&net, OUTSIDE, "192.0.2.1:8080");
    sleep(Duration::from_millis(300));
    let way = way_to(&there);
    let moved = obey(&net.engine, &["container", "migrate", "--rm", NAME, "--via", &way]);
    let elsewhere = Load::start(&net, HOST, "192.0.2.2:8080");
    sleep(Duration::from_millis(700));
    check_requests(&load.stop(), |request| request.ended >= moved.0);
    check_requests(&elsewhere.stop(), |_| false);
}
