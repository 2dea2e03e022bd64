//! The verbs of containers, through the program itself, on an overlay of the host's own root.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{
    fs,
    io::{Read, Write},
    process::Stdio,
    thread::sleep,
    time::Duration,
};

use container_support::{Engine, groups_of};
use rustix::process::{Pid, Signal, kill_process};

const COUNT: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done";

#[test]
fn a_container_lives_and_leaves_nothing() {
    let engine = Engine::new();
    engine.start("cr", &[], COUNT);
    engine.await_log("cr", "3\n");
    let id = engine.inspect("cr", "{{.Id}}");
    assert!(!groups_of(&id).is_empty());
    let ps = engine.run(&["ps"]);
    assert!(ps.contains("Up ") && ps.contains(&id[..12]), "{ps}");
    let refused = engine.try_run(&["rm", "cr"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is running"), "{}", refused.err);
    engine.run(&["stop", "-t", "0", "cr"]);
    assert_eq!(engine.inspect("cr", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert_eq!(engine.run(&["ps", "-q"]), "");
    assert_eq!(engine.run(&["wait", "cr"]), "137\n");
    engine.run(&["rm", &id[..5]]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
    assert_eq!(groups_of(&id), Vec::<std::path::PathBuf>::new());
}

/// Whoever becomes a child of the monitor is taken note of; init could not end before.
#[test]
fn a_probe_without_its_watcher_keeps_no_container_from_ending() {
    let engine = Engine::new();
    let health = ["--health-cmd", "sleep 98765", "--health-interval", "50ms"];
    engine.start("cr", &[&health[..], &["--health-timeout", "1h"]].concat(), "sleep 1000");
    let id = engine.inspect("cr", "{{.Id}}");
    engine.eventually("it is probed", || engine.run(&["top", "cr"]).contains("sleep 98765"));
    let watcher = watcher_of(&id);
    let children = format!("/proc/{watcher}/task/{watcher}/children");
    let launcher = fs::read_to_string(children).unwrap();
    kill_process(watcher, Signal::KILL).unwrap();
    let launcher = Pid::from_raw(launcher.trim().parse().unwrap()).unwrap();
    kill_process(launcher, Signal::KILL).unwrap();
    engine.run(&["stop", "-t", "0", "cr"]);
    assert_eq!(engine.inspect("cr", "{{.State.Status}}"), "exited");
    engine.run(&["rm", "cr"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

/// The process that looks after a container's health.
fn watcher_of(id: &str) -> Pid {
    let is_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("internal-health") && line.contains(id)
    };
    let names = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Pid::from_raw(pids.find(is_it).expect("somebody watches")).unwrap()
}

#[test]
fn exit_codes_are_dockers() {
    let engine = Engine::new();
    let run = |command: &[&str]| {
        let args = [&["run", "--rm", "--rootfs", "/:O"], command].concat();
        engine.try_run(&args)
    };
    assert_eq!(run(&["sh", "-c", "exit 42"]).code, 42);
    assert_eq!(
        run(&["sh", "-c", "kill -9 $$; sleep 1"]).code,
        0,
        "pid 1 does not hear its own kill"
    );
    assert_eq!(run(&["/etc/passwd"]).code, 126);
    assert_eq!(run(&["/etc"]).code, 126);
    let missing = run(&["no-such-program"]);
    assert_eq!(missing.code, 127);
    assert!(missing.err.contains("not found in $PATH"), "{}", missing.err);
    assert_eq!(engine.try_run(&["run", "--rootfs", "/no/such/dir", "true"]).code, 125);
    assert_eq!(engine.try_run(&["run", "--no-such-option"]).code, 125);
    let image = engine.try_run(&["run", "--pull", "never", "ubuntu", "true"]);
    assert_eq!(image.code, 125);
    assert!(image.err.contains("no such image: ubuntu"), "{}", image.err);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn streams_are_kept_apart_and_standard_input_ends() {
    let engine = Engine::new();
    let run = &["run", "-i", "--rm", "--rootfs", "/:O"];
    let script = "cat; echo err >&2";
    let done = engine.run_with_input(&[run.as_slice(), &["sh", "-c", script]].concat(), "a\nb");
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "a\nb", "err\n"));
    let big = "x".repeat(3 << 20);
    let done = engine.run_with_input(&[run.as_slice(), &["wc", "-c"]].concat(), &big);
    assert_eq!(done.out.trim(), big.len().to_string());
}

#[test]
fn changes_stay_with_the_container_and_off_the_host() {
    let engine = Engine::new();
    engine.start("w", &[], "echo x >> /written; cat /written");
    engine.run(&["wait", "w"]);
    engine.run(&["start", "-a", "w"]);
    engine.run(&["wait", "w"]);
    assert_eq!(engine.logs("w"), "x\nx\nx\n");
    assert!(!std::path::Path::new("/written").exists());
}

#[test]
fn exec_joins_the_container() {
    let engine = Engine::new();
    engine.start("e", &["-e", "A=1", "--hostname", "inside"], "sleep 1000");
    let done = engine.try_run(&[
        "exec",
        "-e",
        "B=2",
        "-w",
        "/etc",
        "e",
        "sh",
        "-c",
        "echo $A$B $(hostname) $(pwd); exit 7",
    ]);
    assert_eq!((done.code, done.out.as_str()), (7, "12 inside /etc\n"));
    let done = engine.run_with_input(&["exec", "-i", "e", "cat"], "hello");
    assert_eq!(done.out, "hello");
    let user = engine.run(&[
        "exec",
        "-u",
        "nobody",
        "e",
        "sh",
        "-c",
        "id -un; grep CapEff /proc/self/status",
    ]);
    assert_eq!(user, "nobody\nCapEff:\t0000000000000000\n");
    assert_eq!(engine.try_run(&["exec", "e", "no-such-program"]).code, 127);
    let confined = engine.run(&["exec", "e", "grep", "-E", "Seccomp:|CapEff", "/proc/self/status"]);
    assert_eq!(confined, "CapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    assert_eq!(engine.run(&["exec", "e", "cat", "/proc/1/comm"]), "sh\n");
    engine.run(&["exec", "-d", "e", "sleep", "77"]);
    engine.eventually("exec -d", || engine.run(&["top", "e"]).contains("sleep 77"));
    engine.run(&["kill", "e"]);
    let refused = engine.try_run(&["exec", "e", "true"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is not running"), "{}", refused.err);
}

#[test]
fn logs_know_lines_times_and_streams() {
    let engine = Engine::new();
    let script = "for i in 1 2 3 4 5; do echo $i; done; until [ -e /go ]; do sleep 0.05; done
        printf end";
    engine.start("l", &[], script);
    let mut following =
        engine.command(&["logs", "-f", "l"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = vec![0; "1\n2\n3\n4\n5\n".len()];
    let mut out = following.stdout.take().unwrap();
    out.read_exact(&mut seen).unwrap();
    assert!(following.try_wait().unwrap().is_none(), "-f must wait for the end");
    engine.run(&["exec", "l", "touch", "/go"]);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((seen.as_slice(), rest.as_str()), (b"1\n2\n3\n4\n5\n".as_slice(), "end"));
    assert!(following.wait().unwrap().success());
    assert_eq!(engine.run(&["logs", "--tail", "2", "l"]), "5\nend");
    assert_eq!(engine.run(&["logs", "--tail", "0", "l"]), "");
    let stamped = engine.run(&["logs", "-t", "--tail", "1", "l"]);
    let (time, text) = stamped.split_once(' ').unwrap();
    assert_eq!((text, time.len()), ("end", "2026-01-01T00:00:00.000000000Z".len()));
    assert_eq!(engine.run(&["logs", "--since", time, "l"]), "end");
    assert_eq!(engine.run(&["logs", "--since", "0.01s", "l"]), "");
    engine.start("s", &[], "echo out; echo err >&2");
    engine.run(&["wait", "s"]);
    let done = engine.try_run(&["logs", "s"]);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("out\n", "err\n"));
}

#[test]
fn names_are_unique_and_resolve() {
    let engine = Engine::new();
    let id = engine.run(&["create", "--name", "one", "--rootfs", "/:O", "true"]).trim().to_owned();
    let again = engine.try_run(&["create", "--name", "one", "--rootfs", "/:O", "true"]);
    assert_eq!(again.code, 125);
    assert!(again.err.contains("already in use"), "{}", again.err);
    assert_eq!(engine.try_run(&["create", "--name", "a/b", "--rootfs", "/:O", "true"]).code, 125);
    for key in ["one", &id, &id[..12], &id[..3]] {
        assert_eq!(engine.inspect(key, "{{.Id}}"), id);
    }
    for verb in ["start", "stop", "kill", "logs", "wait", "pause", "top"] {
        let unknown = engine.try_run(&[verb, "nobody"]);
        assert_eq!(unknown.code, 1, "{verb}");
        let what = if verb == "inspect" { "object" } else { "container" };
        let expect = format!("no such {what}: nobody");
        assert!(unknown.err.contains(&expect), "{verb}: {}", unknown.err);
    }
    let unknown = engine.try_run(&["inspect", "nobody"]);
    assert!(unknown.code == 1 && unknown.err.contains("no such object: nobody"), "{unknown:?}");
    let random = engine.run(&["create", "--rootfs", "/:O", "true"]).trim().to_owned();
    assert!(engine.inspect(&random, "{{.Name}}").contains('_'));
}

#[test]
fn pause_stops_the_program_and_unpause_lets_it_go_on() {
    let engine = Engine::new();
    engine.start("p", &[], COUNT);
    engine.await_log("p", "2\n");
    engine.run(&["pause", "p"]);
    assert!(engine.run(&["ps"]).contains("(Paused)"));
    // What it printed last may still be on its way into the log.
    let mut before = engine.logs("p");
    engine.eventually("it stands", || {
        sleep(Duration::from_millis(500));
        let now = engine.logs("p");
        std::mem::replace(&mut before, now.clone()) == now
    });
    assert_eq!(engine.try_run(&["pause", "p"]).code, 1);
    assert_eq!(engine.try_run(&["exec", "p", "true"]).code, 1);
    engine.run(&["unpause", "p"]);
    engine.eventually("it goes on", || engine.logs("p").len() > before.len());
    engine.run(&["pause", "p"]);
    engine.run(&["stop", "-t", "1", "p"]);
    assert_eq!(engine.inspect("p", "{{.State.Status}}"), "exited");
}

#[test]
fn restart_policies() {
    let engine = Engine::new();
    engine.start("f", &["--restart", "on-failure:2"], "echo x; exit 3");
    engine.eventually("it gives up", || engine.inspect("f", "{{.State.Status}}") == "exited");
    assert_eq!(engine.logs("f"), "x\nx\nx\n");
    assert_eq!(engine.inspect("f", "{{.RestartCount}} {{.State.ExitCode}}"), "2 3");
    engine.start("a", &["--restart", "always"], "echo x; sleep 0.05");
    engine.await_log("a", "x\nx\nx\n");
    engine.run(&["stop", "a"]);
    let at_stop = engine.logs("a");
    sleep(Duration::from_millis(600));
    assert_eq!(engine.logs("a"), at_stop);
    assert_eq!(
        engine.try_run(&["create", "--rm", "--restart", "always", "--rootfs", "/:O", "x"]).code,
        125
    );
}

#[test]
fn ps_tells_the_truth_after_the_monitor_was_killed() {
    let engine = Engine::new();
    engine.start("k", &[], "sleep 1000");
    let monitor: i32 = engine.inspect("k", "{{.State.MonitorPid}}").parse().unwrap();
    let init: i32 = engine.inspect("k", "{{.State.Pid}}").parse().unwrap();
    let kill = |pid: i32| {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    kill(monitor);
    sleep(Duration::from_millis(100));
    assert_eq!(engine.inspect("k", "{{.State.Status}}"), "running");
    assert_eq!(engine.run(&["exec", "k", "echo", "in"]), "in\n");
    kill(init);
    engine.eventually("it is seen", || engine.inspect("k", "{{.State.Status}}") == "exited");
    assert_eq!(engine.inspect("k", "{{.State.ExitCode}}"), "255");
    engine.run(&["start", "k"]);
    assert_eq!(engine.inspect("k", "{{.State.Status}}"), "running");
    engine.run(&["rm", "-f", "k"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_of_an_earlier_boot_has_exited() {
    let engine = Engine::new();
    engine.start("b", &[], "sleep 1000");
    let id = engine.inspect("b", "{{.Id}}");
    engine.run(&["stop", "-t", "0", "b"]);
    let path = engine.root().join("containers").join(&id).join("state.json");
    let boot = r#"{"pid": 1, "start_ticks": 1, "boot_id": "00000000-0000-0000-0000-000000000000"}"#;
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["status"] = "running".into();
    state["init"] = serde_json::from_str(boot).unwrap();
    state["monitor"] = serde_json::from_str(boot).unwrap();
    fs::write(&path, state.to_string()).unwrap();
    assert_eq!(engine.run(&["ps", "-q"]), "");
    assert!(engine.run(&["ps", "-a"]).contains("Exited (255)"));
    engine.run(&["start", "b"]);
    assert_eq!(engine.inspect("b", "{{.State.Status}}"), "running");
}

#[test]
fn confinement_is_dockers_unless_asked_otherwise() {
    let engine = Engine::new();
    let status = |options: &[&str]| {
        let command = ["grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/self/status"];
        engine.run(&[&["run", "--rm", "--rootfs", "/:O"], options, &command].concat())
    };
    assert_eq!(status(&[]), "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n");
    let tight = ["--cap-drop", "all", "--security-opt", "no-new-privileges"];
    assert_eq!(status(&tight), "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
    let loose = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp:unconfined"];
    assert_eq!(status(&loose), "CapEff:\t00000000a82425fb\nNoNewPrivs:\t0\nSeccomp:\t0\n");
    let unshare = |options: &[&str]| {
        let command = ["unshare", "-U", "true"];
        engine.try_run(&[&["run", "--rm", "--rootfs", "/:O"], options, &command].concat()).code
    };
    assert_ne!(unshare(&[]), 0, "the default profile forbids new user namespaces");
    let profile = engine.dir.path().join("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    let args = ["run", "--rm", "--rootfs", "/:O", "--security-opt", &option, "mkdir", "/tmp/x"];
    let forbidden = engine.try_run(&args);
    assert!(forbidden.err.contains("not supported"), "{forbidden:?}");
    for wrong in [["--cap-add", "FLY"], ["--security-opt", "seccomp=/no/such"], ["--ulimit", "x=1"]]
    {
        let args = [&["create", "--rootfs", "/:O"], wrong.as_slice(), &["true"]].concat();
        assert_eq!(engine.try_run(&args).code, 125, "{wrong:?}");
    }
}

#[test]
fn options_reach_the_container() {
    let engine = Engine::new();
    let shared = engine.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, Some(1234), None).unwrap();
    let (volume, read_only) = (format!("{}:/vol", shared.display()), "/etc:/host-etc:ro");
    let cidfile = engine.dir.path().join("cid");
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null;
        ulimit -n; stat -f -c %T /t; touch /vol/x; touch /host-etc/x && echo bad; touch /q && echo bad;
        pwd; hostname; echo $A; cat /sys/class/net/*/uevent | grep INTERFACE; id -u";
    let out = engine.run(&[
        "run",
        "--cidfile",
        cidfile.to_str().unwrap(),
        "--rootfs",
        "/:O",
        "--memory",
        "64m",
        "--ulimit",
        "nofile=100:999999999",
        "--tmpfs",
        "/t:size=1m",
        "-v",
        &volume,
        "-v",
        read_only,
        "--read-only",
        "-w",
        "/made/here",
        "--hostname",
        "hh",
        "-e",
        "A=b",
        "-u",
        "1234",
        "--label",
        "k=v",
        "sh",
        "-c",
        script,
    ]);
    let expect = "67108864\n100\ntmpfs\n/made/here\nhh\nb\nINTERFACE=lo\n1234\n";
    assert_eq!(out, expect);
    assert!(shared.join("x").exists());
    let id = fs::read_to_string(&cidfile).unwrap();
    assert_eq!(engine.inspect(&id, "{{index .Config.Labels \"k\"}} {{.State.ExitCode}}"), "v 0");
    assert_eq!(
        engine.run(&["ps", "-a", "--filter", "label=k=v", "--format", "{{.Status}}"])[..10],
        *"Exited (0)"
    );
    assert_eq!(engine.run(&["ps", "-a", "--filter", "label=k=w", "-q"]), "");
}

#[test]
fn init_passes_signals_on_and_reaps() {
    let engine = Engine::new();
    let script = "trap 'echo got; exit 5' TERM; echo ready; while true; do sleep 0.05; done";
    engine.start("i", &["--init"], script);
    engine.await_log("i", "ready\n");
    assert!(engine.run(&["top", "i"]).contains("internal-init"));
    engine.run(&["stop", "-t", "10", "i"]);
    assert_eq!(engine.inspect("i", "{{.State.ExitCode}}"), "5");
    assert_eq!(engine.logs("i"), "ready\ngot\n");
}

#[test]
fn a_container_survives_its_shell() {
    let engine = Engine::new();
    let program = engine.command(&["run", "-d", "--name", "s", "--rootfs", "/:O", "sleep", "1000"]);
    let words: Vec<String> = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // The shell's whole session is hung up at once.
    let script = format!("{}; kill -HUP 0; sleep 1", words.join(" "));
    std::process::Command::new("setsid").args(["-w", "sh", "-c", &script]).output().unwrap();
    assert_eq!(engine.inspect("s", "{{.State.Status}}"), "running");
}

#[test]
fn many_at_once() {
    let engine = Engine::new();
    let children: Vec<_> = (0..8)
        .map(|n| {
            let mut command =
                engine.command(&["run", "--rootfs", "/:O", "sh", "-c", &format!("exit {n}")]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (n, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), i32::try_from(n).ok(), "{output:?}");
    }
    assert_eq!(engine.run(&["ps", "-aq"]).lines().count(), 8);
}

#[test]
fn terminals() {
    let engine = Engine::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = engine.command(&["run", "-it", "--name", "t", "--rootfs", "/:O", "sh"]);
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop(command);
    engine.eventually("it runs", || !engine.run(&["ps", "-q"]).is_empty());
    let mut master = fs::File::from(pty.master);
    master.write_all(b"tty; exit 6\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(6));
    let mut seen = vec![0; 4096];
    let count = master.read(&mut seen).unwrap();
    let seen = String::from_utf8_lossy(&seen[..count]).into_owned() + &engine.logs("t");
    assert!(seen.contains("/dev/pts/0"), "{seen}");
}

#[test]
fn bad_checkpoint_names_and_states_are_refused() {
    let engine = Engine::new();
    engine.run(&["create", "--name", "c", "--rootfs", "/:O", "true"]);
    let check = |args: &[&str], expect: &str| {
        let done = engine.try_run(args);
        assert_eq!(done.code, 1, "{args:?}");
        assert!(done.err.contains(expect), "{args:?}: {}", done.err);
    };
    check(&["checkpoint", "create", "nobody", "x"], "no such container");
    check(&["checkpoint", "create", "c", "x"], "is not running");
    check(&["checkpoint", "create", "c", "a/b"], "not a valid checkpoint name");
    check(&["checkpoint", "create", "c", ".."], "not a valid checkpoint name");
    check(&["checkpoint", "rm", "c", "x"], "has no checkpoint x");
    check(&["checkpoint", "rm", "c", "../.."], "not a valid checkpoint name");
    check(&["start", "--checkpoint", "x", "c"], "has no checkpoint x");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "");
    // A directory that is no checkpoint is not removed.
    let dir = engine.dir.path().join("mine");
    fs::create_dir_all(dir.join("x")).unwrap();
    check(
        &["checkpoint", "rm", "--checkpoint-dir", dir.to_str().unwrap(), "c", "x"],
        "cannot read",
    );
    assert!(dir.join("x").exists());
}

#[test]
fn removal_wins_against_a_restart_policy() {
    let engine = Engine::new();
    for round in 0..10 {
        let name = format!("r{round}");
        engine.start(&name, &["--restart", "always"], "sleep 0.01");
        // At any moment of its short lives.
        sleep(Duration::from_millis(10 * round));
        engine.run(&["rm", "-f", &name]);
    }
    assert_eq!(engine.leftovers(), Vec::<String>::new());
}
