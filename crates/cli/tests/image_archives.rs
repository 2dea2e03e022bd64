//! Images in archives, our own and other tools', through the program itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

mod container_support;
mod image_support;

use std::{fs, path::PathBuf, process::Stdio};

use container_support::{Done, Engine};
use image_support::{Tar, archive_of_platforms, gzip, oci_archive, old_docker_archive, tool};
use serde_json::Value;
use stasis_oci::{Digest, RunConfig, media_type};

fn layers() -> Vec<Vec<u8>> {
    let base = Tar::new().dir("d").file("d/a", b"base").file("d/gone", b"").file("hello", b"hi");
    let above = Tar::new().file("d/.wh.gone", b"").file("d/b", b"above");
    vec![base.bytes(), above.bytes()]
}

fn path(engine: &Engine, name: &str) -> PathBuf {
    engine.dir.path().join(name)
}

fn text(engine: &Engine, name: &str) -> String {
    path(engine, name).to_str().unwrap().to_owned()
}

fn write(engine: &Engine, name: &str, bytes: &[u8]) -> String {
    fs::write(path(engine, name), bytes).unwrap();
    text(engine, name)
}

fn id(engine: &Engine, name: &str) -> String {
    engine.run(&["image", "inspect", "-f", "{{.Id}}", name])
}

/// No image, no content, no half layer is left.
fn is_empty(engine: &Engine) -> bool {
    ["blobs/sha256", "layers", "partial"]
        .iter()
        .all(|dir| fs::read_dir(engine.root().join("images").join(dir)).unwrap().next().is_none())
}

#[test]
fn an_archive_of_an_old_docker_is_loaded() {
    let engine = Engine::new();
    let layers = [layers(), layers()].concat();
    let archive = write(&engine, "old.tar", &old_docker_archive("old/app:1", &layers).bytes());
    assert_eq!(engine.run(&["load", "-i", &archive]), "Loaded image: old/app:1\n");
    let image: Value =
        serde_json::from_str(&engine.run(&["image", "inspect", "old/app:1"])).unwrap();
    assert_eq!(image[0]["RootFS"]["Layers"].as_array().unwrap().len(), 4);
    assert_eq!(image[0]["Config"]["Labels"]["color"], "blue");
    assert_eq!(image[0]["Created"], "2020-01-02T03:04:05.6Z");
    let lower = image[0]["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().to_owned();
    let top = PathBuf::from(lower.split(':').next().unwrap());
    assert_eq!(fs::read(top.join("d/b")).unwrap(), b"above");
    // What the archive had beside the image did not stay.
    let blobs = fs::read_dir(engine.root().join("images/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 4);
    assert_eq!(engine.run(&["system", "check"]), "nothing is wrong\n");
}

#[test]
fn of_several_platforms_ours_is_taken_or_the_one_that_is_there() {
    let engine = Engine::new();
    for architecture in ["amd64", "arm64"] {
        let archive = archive_of_platforms("docker.io/me/app:3", &layers(), architecture).bytes();
        let archive = write(&engine, "platforms.tar", &archive);
        assert_eq!(engine.run(&["load", "-i", &archive]), "Loaded image: me/app:3\n");
        assert_eq!(engine.run(&["images", "-q"]).lines().count(), 1);
        engine.run(&["rmi", "me/app:3"]);
        assert!(is_empty(&engine));
    }
}

#[test]
fn archives_may_be_compressed_and_come_through_a_pipe() {
    let engine = Engine::new();
    let plain = layers();
    let packed = [
        (gzip(&plain[0]), media_type::OCI_LAYER_GZIP),
        (zstd::encode_all(plain[1].as_slice(), 3).unwrap(), media_type::OCI_LAYER_ZSTD),
    ];
    let archive = oci_archive("q.io/app:2", &packed, &plain).bytes();
    let zstd = zstd::encode_all(archive.as_slice(), 3).unwrap();
    for (name, bytes) in [("a.tar", archive.clone()), ("a.gz", gzip(&archive)), ("a.zst", zstd)] {
        let input = fs::File::open(write(&engine, name, &bytes)).unwrap();
        let done = engine.command(&["load", "-q"]).stdin(input).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "Loaded image: q.io/app:2\n", "{done:?}");
        engine.run(&["rmi", "q.io/app:2"]);
        assert!(is_empty(&engine));
    }
}

#[test]
fn what_is_saved_is_loaded_byte_for_byte() {
    let (engine, other) = (Engine::new(), Engine::new());
    let plain = layers();
    let one = oci_archive("one:1", &[(gzip(&plain[0]), media_type::OCI_LAYER_GZIP)], &plain[..1]);
    engine.run(&["load", "-i", &write(&engine, "one.tar", &one.bytes())]);
    let two = old_docker_archive("two:1", &plain).bytes();
    engine.run(&["load", "-i", &write(&engine, "two.tar", &two)]);
    engine.run(&["tag", "one:1", "one:other"]);
    let saved = text(&other, "saved.tar");
    engine.run(&["save", "-o", &saved, "one", "two:1"]);
    let again =
        engine.command(&["save", "one", "two:1"]).stderr(Stdio::inherit()).output().unwrap();
    assert!(again.stdout == fs::read(&saved).unwrap(), "saved twice, the bytes differ");
    let loaded = other.run(&["load", "-i", &saved]);
    let mut lines: Vec<&str> = loaded.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one:1", "one:other", "two:1"].map(|name| format!("Loaded image: {name}")));
    for name in ["one:1", "one:other", "two:1"] {
        assert_eq!(id(&engine, name), id(&other, name));
        let manifest = |engine: &Engine| {
            engine.run(&["image", "inspect", "-f", "{{.Descriptor.digest}}", name])
        };
        assert_eq!(manifest(&engine), manifest(&other));
    }
    assert_eq!(other.run(&["system", "check"]), "nothing is wrong\n");
}

#[test]
fn a_directory_holds_images_as_well() {
    let (engine, other) = (Engine::new(), Engine::new());
    let archive = old_docker_archive("app:1", &layers()).bytes();
    engine.run(&["load", "-i", &write(&engine, "app.tar", &archive)]);
    let dir = text(&other, "layout");
    engine.run(&["save", "--format", "oci-dir", "-o", &dir, "app:1"]);
    assert_eq!(other.run(&["load", "-i", &dir]), "Loaded image: app:1\n");
    assert_eq!(id(&engine, "app:1"), id(&other, "app:1"));
    let taken = engine.try_run(&["save", "--format", "oci-dir", "-o", &dir, "app:1"]);
    assert!(taken.code == 1 && taken.err.contains("is not empty"), "{taken:?}");
}

#[test]
fn skopeo_copies_our_archives_and_we_load_its() {
    let engine = Engine::new();
    let image = engine.make_image("app:1", RunConfig::default());
    let saved = text(&engine, "docker.tar");
    engine.run(&["save", "-o", &saved, "app:1"]);
    let oci = text(&engine, "oci.tar");
    engine.run(&["save", "--format", "oci-archive", "-o", &oci, "app:1"]);
    let sources = [format!("docker-archive:{saved}:app:1"), format!("oci-archive:{oci}")];
    for (at, source) in sources.iter().enumerate() {
        let targets = [format!("d{at}"), format!("o{at}")].map(|name| text(&engine, &name));
        let [docker, layout] = &targets;
        let copy = |target: &str| tool("skopeo", &["copy", "--insecure-policy", source, target]);
        copy(&format!("docker-archive:{docker}:theirs:docker"));
        copy(&format!("oci-archive:{layout}:theirs:oci"));
        for (file, name) in [(docker, "theirs:docker"), (layout, "theirs:oci")] {
            assert_eq!(engine.run(&["load", "-i", file]), format!("Loaded image: {name}\n"));
            // It writes configurations anew where it changes the format, but the layers are ours.
            let layers = engine.run(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", name]);
            assert_eq!(layers.trim(), format!("[\"{}\"]", image.config.rootfs.diff_ids[0]));
            engine.run(&["rmi", name]);
        }
    }
    assert_eq!(engine.run(&["system", "check"]), "nothing is wrong\n");
}

#[test]
fn podman_loads_our_archives_and_we_load_its() {
    let engine = Engine::new();
    let image = engine.make_image("q.io/app:1", RunConfig::default());
    let (root, run) = (text(&engine, "podman"), text(&engine, "podman-run"));
    let podman = |args: &[&str]| {
        let own = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
        tool("podman", &[&own, args].concat())
    };
    for (format, back) in [("docker-archive", "oci-archive"), ("oci-archive", "docker-archive")] {
        let ours = text(&engine, format);
        engine.run(&["save", "--format", format, "-o", &ours, "q.io/app:1"]);
        assert!(podman(&["load", "-i", &ours]).contains("q.io/app:1"));
        let seen = podman(&["inspect", "--type", "image", "-f", "{{.Id}}", "q.io/app:1"]);
        assert_eq!(seen.trim(), image.id.hex());
        podman(&["tag", "q.io/app:1", "q.io/theirs:1"]);
        let theirs = text(&engine, &format!("theirs-{back}"));
        podman(&["save", "--format", back, "-o", &theirs, "q.io/theirs:1"]);
        assert_eq!(engine.run(&["load", "-i", &theirs]), "Loaded image: q.io/theirs:1\n");
        assert_eq!(id(&engine, "q.io/theirs:1").trim(), image.id.to_string());
        engine.run(&["rmi", "q.io/theirs:1"]);
        podman(&["rmi", "-fa"]);
    }
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let engine = Engine::new();
    let busybox = engine.busybox();
    let tar = text(&engine, "root.tar");
    tool("tar", &["-C", busybox.to_str().unwrap(), "-cf", &tar, "."]);
    let options = ["-c", "CMD [\"sh\"]", "-c", "ENV A=b C=\"d e\"", "-m", "by hand"];
    let id = engine.run(&[&["import"], &options[..], &[&tar, "my/root:1"]].concat());
    assert!(id.starts_with("sha256:") && id.trim().len() == 71, "{id}");
    assert_eq!(engine.run(&["history", "--format", "{{.Comment}}", "my/root:1"]), "by hand\n");
    let config = engine.run(&["image", "inspect", "-f", "{{json .Config.Env}}", "my/root:1"]);
    assert_eq!(config, "[\"A=b\",\"C=d e\"]\n");
    let out = engine.run(&["run", "--rm", "my/root:1", "/bin/sh", "-c", "echo in $C"]);
    assert_eq!(out, "in d e\n");
    let input = fs::File::open(&tar).unwrap();
    let done = engine.command(&["import", "-"]).stdin(input).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(engine.run(&["images", "-q"]).lines().count(), 2);
}

// Hostile archives

fn refused(engine: &Engine, archive: &Tar, name: &str) -> Done {
    let beside = listing(engine);
    let done = engine.try_run(&["load", "-i", &write(engine, "evil.tar", &archive.bytes())]);
    fs::remove_file(path(engine, "evil.tar")).unwrap();
    assert_eq!(done.code, 1, "{name}: {done:?}");
    assert!(done.err.contains(name), "{name}: {done:?}");
    assert_eq!(engine.run(&["images", "-q"]), "");
    assert!(is_empty(engine), "{name}: something is left");
    assert!(!PathBuf::from("/evil-of-a-test").exists());
    assert_eq!(listing(engine), beside, "{name}");
    done
}

/// What lies beside the engine's own directories.
fn listing(engine: &Engine) -> Vec<PathBuf> {
    let own = ["root", "run"].map(|name| path(engine, name));
    let all = fs::read_dir(engine.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut others: Vec<PathBuf> = all.filter(|path| !own.contains(path)).collect();
    others.sort();
    others
}

#[test]
fn hostile_layers_are_refused_by_name() {
    let engine = Engine::new();
    let refused = |layer: Tar, name: &str| {
        refused(&engine, &old_docker_archive("evil:1", &[layer.bytes()]), name);
    };
    refused(Tar::new().file("../evil-of-a-test", b""), "../evil-of-a-test");
    refused(Tar::new().file("/evil-of-a-test", b""), "/evil-of-a-test");
    refused(Tar::new().file("a/../../evil-of-a-test", b""), "a/../../evil-of-a-test");
    refused(Tar::new().link("out", "/").file("out/evil-of-a-test", b""), "out");
    refused(Tar::new().hard_link("shadow", "../../../../etc/shadow"), "etc/shadow");
    refused(Tar::new().link("l", "/etc").hard_link("shadow", "l/shadow"), "shadow");
    refused(Tar::new().file(".wh...", b""), ".wh...");
    refused(Tar::new().file("../.wh.etc", b""), "../.wh.etc");
    refused(Tar::new().whiteout_device("bin"), "bin");
}

#[test]
fn hostile_archives_are_refused_by_name() {
    let engine = Engine::new();
    let plain = layers();
    let digest = Digest::of(&plain[0]);
    let wrong = Tar::new().file(&format!("blobs/sha256/{}", digest.hex()), b"something else");
    refused(&engine, &wrong, &digest.to_string());
    let mut lying = old_docker_archive("evil:1", &plain).bytes();
    let at = lying.windows(5).position(|bytes| bytes == b"above").unwrap();
    lying[at..at + 5].copy_from_slice(b"ABOVE");
    let done = engine.try_run(&["load", "-i", &write(&engine, "lying.tar", &lying)]);
    assert!(done.code == 1 && done.err.contains("expected was"), "{done:?}");
    assert!(is_empty(&engine));
    refused(&engine, &Tar::new().file("a", b"b"), "no archive of images");
    refused(&engine, &Tar::new().file("manifest.json", &vec![b' '; 5 << 20]), "manifest.json");
    refused(&engine, &Tar::new().file("../manifest.json", b"[]"), "../manifest.json");
    let missing = br#"[{"Config":"../../etc/passwd","RepoTags":["a:1"],"Layers":[]}]"#;
    refused(&engine, &Tar::new().file("manifest.json", missing), "../../etc/passwd");
    let circle = Tar::new().link("a", "b").link("b", "a");
    let circle = circle.file("manifest.json", br#"[{"Config":"a","RepoTags":[],"Layers":[]}]"#);
    refused(&engine, &circle, "\"a\"");
    let name = old_docker_archive("a:1", &plain);
    let done = engine.try_run(&["load", "-i", &write(&engine, "cut.tar", &name.bytes()[..3000])]);
    assert!(done.code == 1 && done.err.contains("too early"), "{done:?}");
    assert!(is_empty(&engine));
}

#[test]
fn a_bomb_is_stopped() {
    let engine = Engine::new();
    // Some two megabytes that become two gigabytes; read by us they must not.
    let zeros = vec![0; 64 << 20];
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    let head = Tar::new().file("x", b"").bytes();
    std::io::Write::write_all(&mut encoder, &head[..512]).unwrap();
    for _ in 0..33 {
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let plain = vec![head];
    let archive = oci_archive("bomb:1", &[(bomb, media_type::OCI_LAYER_GZIP)], &plain);
    refused(&engine, &archive, "bytes that are allowed");
    // Who knows what is in it may have it; here only the digest is wrong.
    let archive = write(&engine, "bomb.tar", &archive.bytes());
    let done = engine.try_run(&["--max-layer-size", "3g", "load", "-i", &archive]);
    assert!(done.code == 1 && done.err.contains("expected was"), "{done:?}");
    let done = engine.try_run(&["--max-layer-size", "1m", "load", "-i", &archive]);
    assert!(done.code == 1 && done.err.contains("1048576 bytes that are allowed"), "{done:?}");
}
