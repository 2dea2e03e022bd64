//! Real servers are frozen and go on, seen by clients that were not.
//!
//! Each is a container on an overlay of the host's root with the host's network, some are plain
//! processes too. The clients are this program, which speaks the protocols itself. Every client
//! knows what the server must answer next, so a server that lost or repeated anything fails.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod process_support;
mod server_support;

use std::{path::Path, process::ExitCode};

use container_support::Engine;
use libtest_mimic::{Arguments, Trial};
use server_support::{
    http::{Counter, Language},
    java::Java,
    memcached::Memcached,
    nginx::Nginx,
    plain::Plain,
    postgres::{self, Postgres, SharedMemory},
    redis::Redis,
    service::{self, Service, await_answer, program},
    terminal::Terminal,
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Roots of plain restored trees are orphans and come to us.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    let trials = vec![
        trial("redis", &["redis-server"], || in_container(&mut Redis::new())),
        trial("memcached", &["memcached"], || in_container(&mut Memcached::new())),
        trial("nginx", &["nginx"], || in_container(&mut Nginx::new())),
        trial("python", &["python3"], || in_container(&mut Counter::new(Language::Python))),
        trial("node", &["node"], || in_container(&mut Counter::new(Language::Node))),
        trial("java", &["java", "javac"], || in_container(&mut Java::new())),
        trial("postgres", &POSTGRES, || in_container(&mut Postgres::new(SharedMemory::Usual))),
        trial("postgres_on_system_v", &POSTGRES, || {
            in_container(&mut Postgres::new(SharedMemory::SystemV));
        }),
        trial("postgres_in_a_transaction", &POSTGRES, postgres_in_a_transaction),
        trial("python_300_mib", &["python3"], || {
            in_container(&mut Counter::new(Language::PythonWithMuchMemory));
        }),
        trial("redis_as_a_process", &["redis-server"], || as_process(&mut Redis::new())),
        trial("python_as_a_process", &["python3"], || {
            as_process(&mut Counter::new(Language::Python));
        }),
        // To be run by everybody as soon as checkpoints keep terminals.
        trial("bash_on_a_terminal", &["bash"], bash_on_a_terminal),
        trial("fifty_times_in_a_row", &[], fifty_times_in_a_row),
        trial("confinement_is_the_same", &[], confinement_is_the_same),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test, or a skipped one that says which of its programs is missing.
fn trial(name: &str, needs: &[&str], test: fn()) -> Trial {
    let is_there = |need: &&str| program(need).or_else(|| postgres::program(need)).is_some();
    let missing: Vec<_> = needs.iter().copied().filter(|need| !is_there(need)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {name}: not there: {}", missing.join(", "));
    }
    Trial::test(name, move || {
        test();
        Ok(())
    })
    .with_ignored_flag(!missing.is_empty())
}

const NAME: &str = "server";
const POSTGRES: [&str; 3] = ["postgres", "initdb", "setpriv"];

/// Freezes a container while it runs on, then for good, twice; at last the first checkpoint again,
/// and with it the state of that time.
fn in_container<S: Service>(service: &mut S) {
    let engine = Engine::new();
    let command = service.command(engine.dir.path());
    let mut run = vec!["run", "-d", "--name", NAME, "--rootfs", "/:O", "--network", "host"];
    run.extend(command.iter().map(String::as_str));
    engine.run(&run);
    await_answer(service, || engine.logs(NAME));
    service.fill();
    service.talk();
    engine.run(&["checkpoint", "create", "--leave-running", NAME, "early"]);
    let mut early = service.clone();
    service.talk();
    for name in ["first", "second"] {
        engine.run(&["checkpoint", "create", NAME, name]);
        assert!(service::connect(service.port()).is_err(), "somebody answers for a frozen server");
        engine.run(&["start", "--checkpoint", name, NAME]);
        service.talk();
        service.talk();
    }
    engine.run(&["stop", "-t", "0", NAME]);
    engine.run(&["start", "--checkpoint", "early", NAME]);
    early.talk();
    engine.run(&["rm", "-f", NAME]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

/// The same by `stasis process`, without a container.
fn as_process<S: Service>(service: &mut S) {
    let dir = tempfile::tempdir().unwrap();
    let mut plain = Plain::start(dir.path(), &service.command(dir.path()));
    await_answer(service, || plain.output());
    service.fill();
    service.talk();
    plain.dump("early", &["--leave-running"]);
    service.talk();
    for name in ["first", "second"] {
        plain.dump(name, &[]);
        assert!(service::connect(service.port()).is_err(), "somebody answers for a frozen server");
        plain.restore(name);
        service.talk();
        service.talk();
    }
}

/// A line that was half typed when the shell was frozen is finished on another terminal.
fn bash_on_a_terminal() {
    let engine = Engine::new();
    let shell = ["--rootfs", "/:O", "-e", "PS1=ready> ", "bash", "--norc", "--noprofile"];
    engine.run(&[&["run", "-d", "-i", "-t", "--name", NAME][..], &shell].concat());
    let mut terminal = Terminal::open(engine.command(&["attach", NAME]));
    terminal.type_until("\n", "ready> ");
    terminal.type_until("number=41\n", "ready> ");
    terminal.type_until("echo half-$((number + 1))", "half-$((number + 1))");
    engine.run(&["checkpoint", "create", NAME, "x"]);
    drop(terminal);
    engine.run(&["start", "--checkpoint", "x", NAME]);
    let mut terminal = Terminal::open(engine.command(&["attach", NAME]));
    terminal.type_until("-done\n", "half-42-done");
    terminal.type_until("tty; stty size\n", "/dev/pts/0");
}

/// A client in the same container has changed a row and not committed: its connection, the lock and
/// the change are still there, and then it commits.
fn postgres_in_a_transaction() {
    let engine = Engine::new();
    let home = engine.dir.path().join("postgres").display().to_string();
    let server = postgres::server(engine.dir.path()).join(" ");
    let psql = postgres::program("psql").unwrap().display().to_string();
    let script = format!(
        "{server} -c listen_addresses= & mkfifo /orders; exec 3<>/orders;
        until [ -S {home}/.s.PGSQL.5432 ]; do sleep 0.05; done;
        {psql} -X -q -A -t -h {home} -U postgres <&3; echo gone"
    );
    engine.start(NAME, &["--network", "host"], &script);
    let order = |order: &str| {
        engine.run(&["exec", NAME, "sh", "-c", &format!("echo \"{order}\" > /orders")]);
    };
    engine.eventually("it takes orders", || {
        engine.try_run(&["exec", NAME, "test", "-S", &format!("{home}/.s.PGSQL.5432")]).code == 0
    });
    order("CREATE TABLE t AS SELECT 40 AS n; BEGIN; UPDATE t SET n = n + 1; SELECT 'open';");
    engine.await_log(NAME, "open");
    engine.run(&["checkpoint", "create", NAME, "x"]);
    engine.run(&["start", "--checkpoint", "x", NAME]);
    order("UPDATE t SET n = n + 1; COMMIT; SELECT 'n is ' || n FROM t;");
    engine.await_log(NAME, "n is 42");
    order("BEGIN; UPDATE t SET n = 0; ROLLBACK; SELECT 'and stays ' || n FROM t;");
    engine.await_log(NAME, "and stays 42");
    assert!(!engine.logs(NAME).contains("gone"), "{}", engine.logs(NAME));
}

/// Not one number may be missing or come twice.
fn fifty_times_in_a_row() {
    let engine = Engine::new();
    let script = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.02; done";
    engine.start(NAME, &[], script);
    engine.await_log(NAME, "1\n");
    for round in 0..50 {
        let name = format!("round{round}");
        engine.run(&["checkpoint", "create", NAME, &name]);
        engine.run(&["start", "--checkpoint", &name, NAME]);
        engine.run(&["checkpoint", "rm", NAME, &name]);
        let before = engine.logs(NAME).lines().count();
        engine.eventually("it goes on", || engine.logs(NAME).lines().count() > before);
    }
    for (expect, line) in engine.logs(NAME).lines().enumerate() {
        assert_eq!(line, expect.to_string());
    }
}

/// A restored container is as confined as it was: by the same filters, without the same
/// capabilities, with no way to new ones.
fn confinement_is_the_same() {
    let engine = Engine::new();
    let cases: [&[&str]; 3] = [
        &[],
        &["--security-opt", "no-new-privileges", "--cap-drop", "all", "--cap-add", "chown"],
        &["--user", "1234:5678", "--security-opt", "seccomp=unconfined"],
    ];
    for (case, options) in cases.iter().enumerate() {
        let name = format!("case{case}");
        engine.start(&name, options, "while true; do sleep 0.05; done");
        let before = confinement(&engine, &name);
        engine.run(&["checkpoint", "create", &name, "one"]);
        engine.run(&["start", "--checkpoint", "one", &name]);
        let after = confinement(&engine, &name);
        assert_eq!(before, after, "{options:?}");
        let filtered = !options.contains(&"seccomp=unconfined");
        assert!(before.contains(if filtered { "Seccomp:\t2" } else { "Seccomp:\t0" }), "{before}");
        engine.run(&["checkpoint", "create", "--leave-running", &name, "two"]);
        let (one, two) = (filters(&engine, &name, "one"), filters(&engine, &name, "two"));
        assert!(one == two, "the filters of a restored container are others: {options:?}");
        assert_eq!(one.is_some_and(|bytes| bytes.len() > 1000), filtered);
    }
}

/// What the kernel says about the first process of a container.
fn confinement(engine: &Engine, name: &str) -> String {
    let pid = engine.inspect(name, "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let told = ["Seccomp", "Cap", "NoNewPrivs", "Uid", "Gid", "Groups"];
    let lines = status.lines().filter(|line| told.iter().any(|word| line.starts_with(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The file with the filters of a checkpoint, if it has any.
fn filters(engine: &Engine, name: &str, checkpoint: &str) -> Option<Vec<u8>> {
    let reference = format!("{name}/{checkpoint}");
    let path = engine.run(&["checkpoint", "inspect", "--format", "{{.Path}}", &reference]);
    let dir = Path::new(path.trim()).join("checkpoint");
    assert!(dir.join("inventory.img").exists(), "{}", dir.display());
    std::fs::read(dir.join("seccomp.img")).ok()
}
