//! The verbs that list and remove images, and what is left when they are cut off.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod image_support;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use container_support::{Engine, disk::SmallDisk};
use image_support::{Tar, old_docker_archive};
use stasis_oci::RunConfig;

fn layer(content: &[u8]) -> Vec<u8> {
    Tar::new().dir("d").file("d/a", content).bytes()
}

/// Writes an archive, and gives its path.
fn archive(engine: &Engine, name: &str, layers: &[Vec<u8>]) -> String {
    let path = engine.dir.path().join("archive.tar");
    old_docker_archive(name, layers).write(&path);
    path.to_str().unwrap().to_owned()
}

fn load(engine: &Engine, name: &str, content: &[u8]) {
    engine.run(&["load", "-i", &archive(engine, name, &[layer(content)])]);
}

#[test]
fn images_are_listed_and_filtered_as_by_docker() {
    let engine = Engine::new();
    assert_eq!(engine.run(&["images"]), "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n");
    load(&engine, "one:1", b"1");
    load(&engine, "q.io/two:2", b"2");
    engine.run(&["tag", "one:1", "one:x"]);
    let names = |args: &[&str]| {
        let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
        let out = engine.run(&[&format, args].concat());
        let mut names: Vec<String> = out.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "one:1 one:x q.io/two:2");
    assert_eq!(names(&["one"]), "one:1 one:x");
    assert_eq!(names(&["one:x"]), "one:x");
    assert_eq!(names(&["-f", "reference=q.io/*"]), "q.io/two:2");
    assert_eq!(names(&["-f", "label=color=blue"]), "one:1 one:x q.io/two:2");
    assert_eq!(names(&["-f", "label=color=red"]), "");
    assert_eq!(names(&["-f", "dangling=true"]), "");
    assert_eq!(engine.run(&["images", "-q", "one"]).lines().count(), 1);
    let table = engine.run(&["image", "ls", "--no-trunc", "--digests", "one:1"]);
    assert!(table.contains("DIGEST") && table.contains(" sha256:"), "{table}");
    // The same name for something else leaves an image without a name.
    load(&engine, "one:1", b"another");
    engine.run(&["rmi", "one:x"]);
    load(&engine, "one:x", b"another");
    assert_eq!(names(&["-f", "dangling=false"]), "one:1 one:x q.io/two:2");
    assert_eq!(engine.try_run(&["images", "-f", "colour=red"]).code, 1);
}

#[test]
fn removing_tells_what_dockers_does() {
    let engine = Engine::new();
    load(&engine, "one:1", b"1");
    engine.run(&["tag", "one:1", "two:1"]);
    let id = engine.run(&["image", "inspect", "-f", "{{.Id}}", "one:1"]).trim().to_owned();
    assert_eq!(engine.run(&["rmi", "one:1"]), "Untagged: one:1\n");
    engine.run(&["tag", "two:1", "three:1"]);
    let several = engine.try_run(&["rmi", &id]);
    assert!(several.code == 1 && several.err.contains("several repositories"), "{several:?}");
    engine.run(&["rmi", "three:1"]);
    let last = engine.run(&["rmi", "two:1"]);
    let lines: Vec<&str> = last.lines().collect();
    assert_eq!(lines[..2], ["Untagged: two:1", &format!("Deleted: {id}")]);
    assert!(lines[2].starts_with("Deleted: sha256:"), "{last}");
    let gone = engine.try_run(&["rmi", "two:1"]);
    assert_eq!(gone.code, 1);
    assert!(gone.err.starts_with("error: no such image: two:1\nhint:"), "{gone:?}");
    assert_eq!(engine.try_run(&["rmi", "-f", "two:1"]).code, 0);
}

#[test]
fn an_image_of_a_container_stays() {
    let engine = Engine::new();
    engine.make_image("app:1", RunConfig::default());
    engine.run(&["create", "--name", "user", "app:1", "/bin/true"]);
    let refused = engine.try_run(&["rmi", "app:1"]);
    assert!(refused.code == 1 && refused.err.contains("container user"), "{refused:?}");
    assert_eq!(engine.run(&["image", "prune", "-af"]), "Total reclaimed space: 0B\n");
    let forced = engine.run(&["rmi", "-f", "app:1"]);
    assert_eq!(forced, "Untagged: app:1\n");
    assert!(engine.run(&["images"]).contains("<none>"));
    assert_eq!(engine.run(&["image", "prune", "-f"]), "Total reclaimed space: 0B\n");
    engine.run(&["start", "-a", "user"]);
    engine.run(&["rm", "user"]);
    let pruned = engine.run(&["image", "prune", "-f"]);
    assert!(pruned.starts_with("Deleted Images:\ndeleted: sha256:"), "{pruned}");
    assert_eq!(engine.run(&["images", "-q"]), "");
}

#[test]
fn history_tells_how_an_image_came_about() {
    let engine = Engine::new();
    load(&engine, "one:1", &[7; 3000]);
    let history = engine.run(&["history", "one:1"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("IMAGE") && lines[0].contains("CREATED BY"), "{history}");
    assert!(lines[1].contains("CMD [\"/hello\"]") && lines[1].contains(" 0B"), "{history}");
    assert!(lines[2].starts_with("<missing>") && lines[2].contains(" 3kB"), "{history}");
    let exact = ["history", "--human=false", "--format", "{{.CreatedAt}} {{.Size}}", "one:1"];
    assert_eq!(engine.run(&exact).lines().last().unwrap(), "2020-01-02T03:04:05.6Z 3000");
}

#[test]
fn the_disk_is_looked_after() {
    let engine = Engine::new();
    load(&engine, "one:1", &[7; 30_000]);
    let row = |kind: &str| {
        let format = "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}";
        let rows = engine.run(&["system", "df", "--format", format]);
        rows.lines().find(|row| row.starts_with(kind)).unwrap().to_owned()
    };
    assert!(row("Images").starts_with("Images 1 0 ") && row("Images").ends_with("(100%)"));
    assert!(engine.run(&["system", "df", "-v"]).contains("one:1"));
    assert_eq!(engine.run(&["system", "check"]), "nothing is wrong\n");
    // A content that the disk has changed is found, and named.
    let blobs = engine.root().join("images/blobs/sha256");
    let is_layer = |path: &PathBuf| path.metadata().unwrap().len() > 30_000;
    let layer = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).find(is_layer);
    let layer = layer.unwrap();
    let mut bytes = fs::read(&layer).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let checked = engine.try_run(&["system", "check"]);
    let name = layer.file_name().unwrap().to_str().unwrap();
    assert!(checked.code == 1 && checked.out.contains(name), "{checked:?}");
    engine.run(&["rmi", "one:1"]);
    assert_eq!(engine.run(&["system", "check"]), "nothing is wrong\n");
    assert_eq!(engine.run(&["system", "prune", "-af"]), "Total reclaimed space: 0B\n");
}

// Cut off

/// Layers that do not compress and take a moment.
fn heavy() -> Vec<Vec<u8>> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise = |nr: usize, next: &mut dyn FnMut() -> [u8; 8]| {
        (0..nr / 8).flat_map(|_| next()).collect::<Vec<u8>>()
    };
    let tar = |at: usize, next: &mut dyn FnMut() -> [u8; 8]| {
        let names: Vec<String> = (0..40).map(|file| format!("dir{at}/file{file}")).collect();
        names.iter().fold(Tar::new(), |tar, name| tar.file(name, &noise(20_000, next))).bytes()
    };
    (0..3).map(|at| tar(at, &mut next)).collect()
}

/// Kills a command after each of many parts of the time that it takes.
fn cut_off(engine: &Engine, nr_times: u32, mut prepare: impl FnMut(u32) -> Command) {
    let start = Instant::now();
    assert!(prepare(0).status().unwrap().success());
    let whole = start.elapsed();
    for time in 1..=nr_times {
        let mut child = prepare(time).spawn().unwrap();
        // Where it stands then is what this is about; there is nothing to wait for.
        std::thread::sleep(whole * time / nr_times);
        child.kill().unwrap();
        child.wait().unwrap();
        let faults = engine.images().check().unwrap();
        assert!(faults.is_empty(), "cut off after {:?}: {faults:?}", whole * time / nr_times);
        is_true(engine);
    }
}

/// What is listed is there, whole.
fn is_true(engine: &Engine) {
    let images = engine.images();
    for image in images.list().unwrap() {
        for dir in images.lower_dir_paths(&image) {
            assert!(dir.is_dir(), "{} is listed but {dir:?} is not there", image.display_name());
        }
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn commands_that_are_killed_leave_no_half_image() {
    let engine = Engine::new();
    let path = archive(&engine, "heavy:1", &heavy());
    let rmi = |name: &str| drop(engine.try_run(&["rmi", "-f", name]));
    cut_off(&engine, 30, |_| {
        rmi("heavy:1");
        quiet(engine.command(&["load", "-i", &path]))
    });
    let tar = engine.dir.path().join("root.tar");
    fs::write(&tar, &heavy()[0]).unwrap();
    cut_off(&engine, 20, |_| {
        rmi("imported:1");
        quiet(engine.command(&["import", tar.to_str().unwrap(), "imported:1"]))
    });
    cut_off(&engine, 30, |_| {
        engine.run(&["load", "-q", "-i", &path]);
        quiet(engine.command(&["rmi", "heavy:1"]))
    });
    engine.run(&["load", "-q", "-i", &path]);
    cut_off(&engine, 20, |time| {
        quiet(engine.command(&["tag", "heavy:1", &format!("other:{time}")]))
    });
    // What was left behind goes when it is asked for.
    engine.run(&["system", "prune", "-af"]);
    for dir in ["blobs/sha256", "layers", "partial"] {
        let left: Vec<_> = fs::read_dir(engine.root().join("images").join(dir)).unwrap().collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
    assert_eq!(engine.run(&["images", "-q"]), "");
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half_image() {
    let engine = Engine::new();
    let path = archive(&engine, "heavy:1", &heavy());
    let mut nr_full = 0;
    // The layers take 2400 kB as they came and again unpacked.
    for kilobytes in (300..7000).step_by(600) {
        let _disk = SmallDisk::new(&engine.root(), kilobytes);
        let done = engine.try_run(&["load", "-q", "-i", &path]);
        assert!(engine.images().check().unwrap().is_empty(), "{kilobytes}");
        is_true(&engine);
        let nr_images = engine.images().list().unwrap().len();
        assert_eq!(nr_images, usize::from(done.code == 0), "{kilobytes}: {done:?}");
        if done.code != 0 {
            nr_full += 1;
            assert!(done.err.contains("No space left"), "{kilobytes}: {done:?}");
        }
    }
    assert!(nr_full > 5, "the disk was full only {nr_full} times");
    let _disk = SmallDisk::new(&engine.root(), 10_000);
    engine.run(&["load", "-i", &path]);
    let target = File::options().write(true).open("/dev/full").unwrap();
    let saved = engine.command(&["save", "heavy:1"]).stdout(target).output().unwrap();
    assert_eq!(saved.status.code(), Some(1), "{saved:?}");
    assert!(String::from_utf8_lossy(&saved.stderr).contains("No space left"), "{saved:?}");
}
