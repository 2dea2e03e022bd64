//! `container migrate`, from one engine to another on this machine: through a pipe, through a real
//! sshd, and with everything that can go wrong at the other end.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod ssh_support;

use std::{fs, path::Path, process::Stdio, thread::sleep, time::Duration};

use container_support::{Engine, way_to};
use ssh_support::{SshServer, with_ssh};
use stasis_oci::RunConfig;

/// Counts, with sixteen megabytes that stay as they are and a file that grows.
const COUNT: &str = "x=$(head -c 12000000 /dev/zero | tr '\\0' x); echo kept > /data/f; \
                     i=0; while true; do echo $i; i=$((i + 1)); echo $i > /n; sleep 0.05; done";

fn counter(engine: &Engine, options: &[&str]) {
    let root = format!("{}:O", engine.busybox().display());
    let args = ["run", "-d", "--name", "c", "-v", "vol:/data", "--rootfs", &root];
    engine.run(&[&args[..], options, &["sh", "-c", COUNT]].concat());
    engine.await_log("c", "3\n");
}

fn is_empty(engine: &Engine) -> bool {
    let entries = fs::read_dir(engine.root().join("containers")).into_iter().flatten();
    let volumes = fs::read_dir(engine.root().join("volumes")).into_iter().flatten();
    entries.count() + volumes.count() == 0 && engine.leftovers().is_empty()
}

/// The container runs here, unwatched, and has lost nothing.
fn assert_unharmed(here: &Engine) {
    here.await_more("c");
    here.assert_counts("c");
    let pid = here.inspect("c", "{{.State.Pid}}");
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    assert!(!smaps.lines().any(|line| line.starts_with("VmFlags:") && line.contains(" uw")));
    let id = here.inspect("c", "{{.Id}}");
    let names = fs::read_dir(here.root().join("containers").join(id)).unwrap().flatten();
    let names: Vec<String> = names.map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".new-")), "{names:?}");
}

#[test]
fn a_container_goes_on_at_the_other_end() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &[]);
    let args = ["container", "migrate", "--print-stats", "c", "--via", &way_to(&there)];
    let figures = here.run(&args);
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    let rounds = figures["rounds"].as_array().unwrap();
    assert!(rounds[0]["pages"].as_u64().unwrap() > 2000, "{figures}");
    assert!(figures["stasis_statistics"]["pages_unchanged"].as_u64().unwrap() > 2000, "{figures}");
    assert!(figures["downtime_us"].as_u64().unwrap() > 0);
    there.await_more("c");
    there.assert_counts("c");
    assert_eq!(there.run(&["exec", "c", "cat", "/data/f"]), "kept\n");
    assert_eq!(there.run(&["checkpoint", "ls", "-q", "c"]), "", "it is used up");
    assert_eq!(here.inspect("c", "{{.State.Status}}"), "exited");
    // And back, through rounds again, where the stopped one stands in the way.
    let back = ["container", "migrate", "c", "--rm", "--via", &way_to(&here)];
    let refused = there.try_run(&back);
    assert!(refused.err.contains("there is a container c already"), "{}", refused.err);
    here.run(&["rm", "c"]);
    here.run(&["volume", "rm", "vol"]);
    let said = there.run(&back);
    assert!(said.contains("round 1: ") && said.contains("c runs there: "), "{said}");
    here.await_more("c");
    here.assert_counts("c");
    assert_eq!(there.run(&["ps", "-aq"]), "");
}

#[test]
fn it_may_have_another_name_there() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &["--rm"]);
    let way = way_to(&there);
    here.run(&[
        "container",
        "migrate",
        "c",
        "-n",
        "d",
        "-c",
        "none",
        "--rounds",
        "1",
        "--via",
        &way,
    ]);
    there.await_more("d");
    there.assert_counts("d");
    here.eventually("it is gone here", || here.run(&["ps", "-aq"]).is_empty());
}

#[test]
fn its_image_goes_along_unless_it_is_there() {
    let (here, there) = (Engine::new(), Engine::new());
    let config = RunConfig { env: vec!["PATH=/bin".into()], ..RunConfig::default() };
    let other = here.make_image("box", config);
    here.run(&["run", "--name", "more", "box", "sh", "-c", "echo yes > /only-here"]);
    here.run(&["commit", "more", "box:2"]);
    here.run(&["rm", "more"]);
    let image = here.images().find("box:2").unwrap();
    // The lower layer is there, in another image, and so is the name, of that one.
    let archive = here.dir.path().join("box.tar");
    here.run(&["save", "-o", archive.to_str().unwrap(), "box:latest"]);
    there.run(&["load", "-i", archive.to_str().unwrap()]);
    there.run(&["tag", "box", "box:2"]);
    let count = "i=0; while true; do echo $i; i=$((i + 1)); sleep 0.05; done";
    let move_to = |name: &str| {
        here.run(&["run", "-d", "--name", name, "box:2", "sh", "-c", count]);
        here.await_log(name, "3\n");
        let way = way_to(&there);
        let args = ["container", "migrate", "--rm", "--print-stats", name, "--via", &way];
        let figures: serde_json::Value = serde_json::from_str(&here.run(&args)).unwrap();
        there.await_more(name);
        there.assert_counts(name);
        assert_eq!(there.run(&["exec", name, "cat", "/only-here"]), "yes\n");
        figures["bytes_sent_of_image"].as_u64().unwrap()
    };
    let layer_bytes = image.manifest.layers[1].size;
    let first = move_to("one");
    let range = layer_bytes..layer_bytes + 20_000;
    assert!(range.contains(&first), "{first} bytes for a layer of {layer_bytes}");
    assert_eq!(there.images().find("box:2").unwrap().id, other.id, "it keeps its name");
    assert_eq!(there.images().find_id(&image.id).unwrap().manifest, image.manifest);
    assert!(move_to("two") < layer_bytes, "it was there");
    there.run(&["rm", "-f", "one", "two"]);
    assert_eq!(there.run(&["system", "check"]), "nothing is wrong\n");
}

#[test]
fn what_cannot_be_there_is_told_before_anything_travels() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &[]);
    let check = |way: &str, expect: &str| {
        let done = here.try_run(&["container", "migrate", "c", "--via", way]);
        assert!(done.code != 0 && done.err.contains(expect), "{expect}: {}", done.err);
        assert!(!done.out.contains("round"), "{expect}: {}", done.out);
        assert_unharmed(&here);
    };
    there.run(&["volume", "create", "vol"]);
    check(&way_to(&there), "volume vol is there already");
    there.run(&["volume", "rm", "vol"]);
    check("exit 7", "before it said a word");
    check("echo 'Welcome to this machine'; sleep 1", "is no stasis");
    check("/does/not/exist", "before it said a word");
    assert!(is_empty(&there), "{:?}", there.leftovers());
}

/// Passes so many bytes on, at once.
const LIMITED: &str = "import os, sys
left = int(sys.argv[1])
while left > 0:
    piece = os.read(0, min(left, 65536))
    if not piece:
        break
    os.write(1, piece)
    left -= len(piece)";

/// Lets `limit` bytes pass to the other end, and then ends the way.
fn way_of(limit: u64, there: &Engine) -> String {
    let receive = way_to(there).replace("exec ", "");
    format!("python3 -c '{LIMITED}' {limit} | {{ {receive}; }}")
}

#[test]
fn a_way_that_breaks_anywhere_leaves_it_here_and_nothing_there() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &[]);
    // In the greeting, in the round, and then in the last archive, as nothing is compressed.
    let in_the_last = (1..30).map(|step| 12_000_000 + step * 100_000);
    let mut in_last = 0;
    for limit in [3, 200, 10_000, 6_000_000].into_iter().chain(in_the_last) {
        let way = way_of(limit, &there);
        let args = ["container", "migrate", "c", "-c", "none", "--rounds", "1", "--via", &way];
        let done = here.try_run(&args);
        if done.code == 0 {
            there.await_more("c");
            there.assert_counts("c");
            assert!(in_last > 0, "it never broke in the last archive");
            return;
        }
        in_last += u64::from(done.out.contains("round 1: "));
        assert_unharmed(&here);
        there.eventually("nothing is left there", || is_empty(&there));
    }
    panic!("all of it is more than was ever let through");
}

#[test]
fn a_full_disk_there_leaves_it_here() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &[]);
    let root = there.root();
    fs::create_dir(&root).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &root, "tmpfs", flags, Some(c"size=6m")).unwrap();
    let done = here.try_run(&["container", "migrate", "c", "--via", &way_to(&there)]);
    let empty = is_empty_of_containers(&there);
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(done.code != 0 && done.err.contains("the other end: "), "{}", done.err);
    assert!(done.err.contains("No space left"), "{}", done.err);
    assert!(empty);
    assert_unharmed(&here);
}

fn is_empty_of_containers(engine: &Engine) -> bool {
    let entries = fs::read_dir(engine.root().join("containers")).into_iter().flatten();
    entries.count() == 0
}

#[test]
fn killed_at_any_end_it_runs_here() {
    let (here, there) = (Engine::new(), Engine::new());
    counter(&here, &[]);
    for after in [20, 150, 300, 500] {
        for whose in ["here", "there"] {
            let note = here.dir.path().join("pid");
            let _ = fs::remove_file(&note);
            let way = format!("echo $$ > {}; {}", note.display(), way_to(&there));
            let args = ["container", "migrate", "c", "-c", "none", "--via", &way];
            let mut moving = here.command(&args).stdout(Stdio::null()).spawn().unwrap();
            here.eventually("the other end is there", || fs::read_to_string(&note).is_ok());
            sleep(Duration::from_millis(after));
            let pid = match whose {
                "here" => i32::try_from(moving.id()).unwrap(),
                _ => fs::read_to_string(&note).unwrap().trim().parse().unwrap_or(0),
            };
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let ended = moving.wait().unwrap();
            // Killed in its last moments it may be gone, which its monitor here tells a moment later.
            let has_gone = || here.inspect("c", "{{.State.Status}}") == "exited";
            let before = here.logs("c").lines().count();
            here.eventually("it goes on, or has gone", || {
                has_gone() || here.logs("c").lines().count() > before + 2
            });
            if ended.success() || has_gone() {
                assert!(has_gone(), "it was through before it was killed");
                there.await_more("c");
                return;
            }
            here.assert_counts("c");
            // What nobody could clear up goes with the next command.
            there.eventually("nothing runs there", || there.run(&["ps", "-aq"]).is_empty());
        }
    }
}

#[test]
fn a_container_goes_over_ssh() {
    let (here, there) = (Engine::new(), Engine::new());
    let server = SshServer::start();
    counter(&here, &[]);
    let mut command = here.command(&["container", "migrate", "c", "root@127.0.0.1"]);
    with_ssh(&server, &there, &mut command);
    let done = container_support::finish(&mut command, |_| ());
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    there.await_more("c");
    there.assert_counts("c");
    assert!(Path::new(&server.path("known")).exists());
}
