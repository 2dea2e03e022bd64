//! Checkpoints of containers, through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;

use std::{fs, os::unix::fs::FileExt, path::PathBuf, thread::sleep, time::Duration};

use container_support::{Engine, groups_of};

const COUNT: &str = "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.05; done";

#[test]
fn a_counter_goes_on_where_it_stood_again_and_again() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "3\n");
    for round in 0..8 {
        let name = format!("round{round}");
        assert_eq!(engine.run(&["checkpoint", "create", "c", &name]), format!("{name}\n"));
        assert_eq!(engine.inspect("c", "{{.State.Status}}"), "exited");
        engine.run(&["start", "--checkpoint", &name, "c"]);
        engine.await_more("c");
    }
    engine.assert_counts("c");
    let parents = engine.run(&["checkpoint", "ls", "--format", "{{.Name}}<{{.Parent}}", "c"]);
    assert!(parents.starts_with("round0<\nround1<round0\n"), "{parents}");
    engine.run(&["checkpoint", "rm", "c", "round0", "round3"]);
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]).lines().count(), 6);
    let id = engine.inspect("c", "{{.Id}}");
    engine.run(&["rm", "-f", "c"]);
    assert_eq!(engine.leftovers(), Vec::<String>::new());
    assert!(groups_of(&id).is_empty());
}

#[test]
fn leave_running_leaves_it_running() {
    let engine = Engine::new();
    engine.start("c", &["--security-opt", "seccomp=unconfined"], COUNT);
    engine.await_log("c", "3\n");
    for name in ["one", "two"] {
        engine.run(&["checkpoint", "create", "--leave-running", "c", name]);
        engine.await_more("c");
    }
    engine.assert_counts("c");
    let refused = engine.try_run(&["start", "--checkpoint", "one", "c"]);
    assert!(refused.err.contains("already running"), "{}", refused.err);
}

#[test]
fn files_come_back_with_the_tasks() {
    let engine = Engine::new();
    let script = "echo before > /file; echo before > /dev/shm/file; mkdir /dir; rm /etc/motd;
        echo ready; while true; do sleep 0.05; done";
    engine.start("f", &["--tmpfs", "/mem"], script);
    engine.await_log("f", "ready");
    engine.run(&["exec", "f", "sh", "-c", "echo before > /mem/file"]);
    engine.run(&["checkpoint", "create", "--leave-running", "f", "x"]);
    engine.run(&[
        "exec",
        "f",
        "sh",
        "-c",
        "echo after | tee /file /mem/file /dev/shm/file; rmdir /dir; echo > /new",
    ]);
    engine.run(&["stop", "-t", "0", "f"]);
    engine.run(&["start", "--checkpoint", "x", "f"]);
    let seen = engine.run(&["exec", "f", "sh", "-c",
        "cat /file /mem/file /dev/shm/file; ls -d /dir; test -e /new || echo gone; test -e /etc/motd || echo gone"]);
    assert_eq!(seen, "before\nbefore\nbefore\n/dir\ngone\ngone\n");
}

#[test]
fn standard_input_in_flight_is_not_lost() {
    let engine = Engine::new();
    let mut command = engine.command(&[
        "run",
        "-i",
        "--name",
        "i",
        "--rootfs",
        "/:O",
        "sh",
        "-c",
        "until [ -e /go ]; do sleep 0.05; done; while read line; do echo got $line; done; sleep 1000",
    ]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    engine.eventually("it runs", || !engine.run(&["ps", "-q"]).is_empty());
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"one\ntwo\n").unwrap();
    let init = engine.inspect("i", "{{.State.Pid}}");
    let pipe = fs::File::open(format!("/proc/{init}/fd/0")).unwrap();
    engine.eventually("both lines lie in the pipe", || {
        rustix::io::ioctl_fionread(&pipe).unwrap() == "one\ntwo\n".len() as u64
    });
    drop(pipe);
    engine.run(&["checkpoint", "create", "i", "x"]);
    assert_eq!(engine.logs("i"), "");
    child.wait().unwrap();
    engine.run(&["start", "--checkpoint", "x", "i"]);
    engine.run(&["exec", "i", "touch", "/go"]);
    engine.await_log("i", "got one\ngot two\n");
}

/// What System V objects there are: numbers, keys, modes, sizes.
fn ipcs(engine: &Engine, name: &str) -> String {
    engine.run(&["exec", name, "ipcs"])
}

#[test]
fn system_v_objects_that_nobody_holds_come_back() {
    let engine = Engine::new();
    let script = "ipcmk -M 5000 -p 0640; ipcmk -S 3; ipcmk -Q; echo ready; sleep 1000";
    engine.start("v", &[], script);
    engine.await_log("v", "ready");
    let before = ipcs(&engine, "v");
    assert_eq!(before.matches("0x").count(), 3, "{before}");
    engine.run(&["checkpoint", "create", "v", "one"]);
    engine.run(&["start", "--checkpoint", "one", "v"]);
    assert_eq!(ipcs(&engine, "v"), before);
    engine.run(&["exec", "v", "ipcrm", "--all"]);
    assert_eq!(ipcs(&engine, "v").matches("0x").count(), 0);
    engine.run(&["stop", "-t", "0", "v"]);
    engine.run(&["start", "--checkpoint", "one", "v"]);
    assert_eq!(ipcs(&engine, "v"), before);
}

#[test]
fn a_posix_queue_is_named_as_an_obstacle() {
    let engine = Engine::new();
    engine.start("q", &[], COUNT);
    engine.run(&["exec", "q", "touch", "/dev/mqueue/orders"]);
    let refused = engine.try_run(&["checkpoint", "create", "q", "x"]);
    assert!(refused.err.contains("POSIX message queue /orders"), "{}", refused.err);
    engine.await_more("q");
    engine.run(&["exec", "q", "rm", "/dev/mqueue/orders"]);
    engine.run(&["checkpoint", "create", "q", "x"]);
}

#[test]
fn many_checkpoints_leave_no_memory_behind() {
    let engine = Engine::new();
    engine.start("m", &[], "while true; do sleep 0.05; done");
    let mappings = || {
        let pid = engine.inspect("m", "{{.State.Pid}}");
        fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines().count()
    };
    let before = mappings();
    for name in ["one", "two"] {
        engine.run(&["checkpoint", "create", "m", name]);
        engine.run(&["start", "--checkpoint", name, "m"]);
    }
    assert_eq!(mappings(), before);
}

#[test]
fn a_second_of_the_same_name_is_refused() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.run(&["checkpoint", "create", "--leave-running", "c", "x"]);
    let again = engine.try_run(&["checkpoint", "create", "c", "x"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("already has a checkpoint x"), "{}", again.err);
    engine.await_more("c");
}

#[test]
fn what_exec_started_is_named_as_an_obstacle() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.run(&["exec", "-d", "c", "sleep", "77"]);
    engine.eventually("exec", || engine.run(&["top", "c"]).contains("sleep 77"));
    let refused = engine.try_run(&["checkpoint", "create", "c", "x"]);
    assert!(refused.err.contains("(sleep)"), "{}", refused.err);
    engine.await_more("c");
    assert_eq!(engine.run(&["checkpoint", "ls", "-q", "c"]), "");
}

#[test]
fn a_full_disk_costs_nothing() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "1\n");
    let small = engine.dir.path().join("small");
    fs::create_dir(&small).unwrap();
    rustix::mount::mount(
        "none",
        &small,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=100k"),
    )
    .unwrap();
    let done = engine.try_run(&[
        "checkpoint",
        "create",
        "--checkpoint-dir",
        small.to_str().unwrap(),
        "c",
        "x",
    ]);
    let left = fs::read_dir(&small).unwrap().count();
    rustix::mount::unmount(&small, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!((done.code, left), (1, 0), "{done:?}");
    assert!(done.err.contains("No space left"), "{}", done.err);
    engine.await_more("c");
    engine.assert_counts("c");
}

#[test]
fn damaged_checkpoints_are_refused_and_the_container_stays_as_it_was() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "1\n");
    let dir = engine.dir.path().join("elsewhere");
    let elsewhere = ["--checkpoint-dir", dir.to_str().unwrap()];
    engine.run(&["checkpoint", "create", elsewhere[0], elsewhere[1], "c", "good"]);
    let start = |name: &str| {
        engine.try_run(&["start", elsewhere[0], elsewhere[1], "--checkpoint", name, "c"])
    };
    let copy = |name: &str| -> PathBuf {
        let to = dir.join(name);
        std::process::Command::new("cp").arg("-a").arg(dir.join("good")).arg(&to).status().unwrap();
        to
    };
    let pages = "checkpoint/pages-1.img";
    let check = |name: &str, expect: &str| {
        let done = start(name);
        assert_eq!(done.code, 1, "{name}");
        assert!(done.err.contains(expect), "{name}: {}", done.err);
        assert_eq!(engine.inspect("c", "{{.State.Status}}"), "exited");
    };
    let file = fs::File::options().write(true).open(copy("flipped").join(pages)).unwrap();
    file.write_all_at(b"?", 777).unwrap();
    check("flipped", "contents were changed");
    let file = fs::File::options().write(true).open(copy("cut").join(pages)).unwrap();
    file.set_len(100).unwrap();
    check("cut", "has 100 bytes instead of");
    fs::remove_file(copy("missing").join("checkpoint/pstree.img")).unwrap();
    check("missing", "is missing");
    assert_eq!(start("good").code, 0);
    engine.await_more("c");
    engine.assert_counts("c");
}

#[test]
fn killed_in_the_middle_it_harms_nobody() {
    let engine = Engine::new();
    engine.start("c", &[], COUNT);
    engine.await_log("c", "1\n");
    for round in 0..12u64 {
        let name = format!("x{round}");
        let mut command = engine.command(&["checkpoint", "create", "--leave-running", "c", &name]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        sleep(Duration::from_millis(2 + 3 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        engine.await_more("c");
    }
    engine.assert_counts("c");
    engine.run(&["checkpoint", "create", "c", "whole"]);
    engine.run(&["start", "--checkpoint", "whole", "c"]);
    engine.await_more("c");
    engine.assert_counts("c");
}
