//! Archives of images, made by hand: as old tools made them, and as nobody should.

#![allow(dead_code)] // not every test file uses all of it

use std::{io::Write, path::Path, process::Command};

use serde_json::{Value, json};
use stasis_oci::{Digest, media_type};
use tar_core::{EntryType, builder::EntryBuilder};

/// A tar that grows member by member.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    pub fn file(self, path: &str, content: &[u8]) -> Tar {
        self.member(path, EntryType::Regular, "", content)
    }

    pub fn link(self, path: &str, target: &str) -> Tar {
        self.member(path, EntryType::Symlink, target, b"")
    }

    pub fn hard_link(self, path: &str, target: &str) -> Tar {
        self.member(path, EntryType::Link, target, b"")
    }

    pub fn dir(self, path: &str) -> Tar {
        self.member(path, EntryType::Directory, "", b"")
    }

    /// A character device 0/0.
    pub fn whiteout_device(self, path: &str) -> Tar {
        self.member(path, EntryType::Char, "", b"")
    }

    fn member(mut self, path: &str, kind: EntryType, link: &str, content: &[u8]) -> Tar {
        let mut entry = EntryBuilder::new_ustar();
        entry.path(path).entry_type(kind);
        let mode = if kind == EntryType::Directory { 0o755 } else { 0o644 };
        entry.mode(mode).unwrap().uid(0).unwrap().gid(0).unwrap();
        entry.size(content.len() as u64).unwrap().mtime(1_000_000_000).unwrap();
        if !link.is_empty() {
            entry.link_name(link);
        }
        self.0.extend(entry.finish_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A configuration of these layers, in Docker's words.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-01-02T03:04:05.6Z",
        "config": {"Cmd": ["/hello"], "Env": ["PATH=/bin"], "Labels": {"color": "blue"}},
        "history": [
            {"created": "2020-01-02T03:04:05.6Z", "created_by": "ADD file:1 in /"},
            {"created": "2020-01-02T03:04:05.6Z", "created_by": "CMD [\"/hello\"]", "empty_layer": true},
        ],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// An archive as Docker wrote it before version 25: a directory for each layer, one of which is only
/// a link to another.
pub fn old_docker_archive(name: &str, layers: &[Vec<u8>]) -> Tar {
    let config = config(layers);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let mut tar = Tar::new().file(&config_name, &config);
    let mut paths = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let dir = format!("{at:064}");
        tar = tar
            .dir(&dir)
            .file(&format!("{dir}/VERSION"), b"1.0")
            .file(&format!("{dir}/json"), b"{}");
        let path = format!("{dir}/layer.tar");
        tar = match layers.iter().position(|known| known == layer) {
            Some(first) if first < at => tar.link(&path, &format!("../{first:064}/layer.tar")),
            _ => tar.file(&path, layer),
        };
        paths.push(path);
    }
    let (repository, tag) = name.split_once(':').unwrap();
    let entry = json!({"Config": config_name, "RepoTags": [name], "Layers": paths});
    let top = format!("{:064}", layers.len() - 1);
    tar.file("manifest.json", list(&[entry]).as_bytes())
        .file("repositories", json!({repository: {tag: top}}).to_string().as_bytes())
}

fn list(entries: &[Value]) -> String {
    Value::from(entries).to_string()
}

/// An OCI layout of one image whose layers are stored as they are given.
pub fn oci_archive(name: &str, layers: &[(Vec<u8>, &str)], plain: &[Vec<u8>]) -> Tar {
    let mut layout = Layout::new();
    let mut entry = layout.image(layers, plain);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    layout.finish(&[entry])
}

/// As Docker saves an image for several platforms, of which it has only one: an index inside the
/// index, which also tells of what was attested.
pub fn archive_of_platforms(name: &str, plain: &[Vec<u8>], architecture: &str) -> Tar {
    let mut layout = Layout::new();
    let layers: Vec<_> = plain.iter().map(|layer| (layer.clone(), media_type::OCI_LAYER)).collect();
    let attested =
        layout.image(&[(b"{}".to_vec(), "application/vnd.in-toto+json")], &[b"{}".to_vec()]);
    let image = layout.image(&layers, plain);
    let absent = descriptor(media_type::OCI_MANIFEST, b"not here");
    let of = |mut entry: Value, os: &str, architecture: &str| {
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let manifests = [
        of(attested, "unknown", "unknown"),
        of(absent, "linux", "s390x"),
        of(image, "linux", architecture),
    ];
    let index =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests});
    let mut entry = layout.blob(media_type::OCI_INDEX, index.to_string().as_bytes());
    entry["annotations"] = json!({"io.containerd.image.name": name});
    layout.finish(&[entry])
}

/// An OCI layout that grows.
struct Layout(Tar);

impl Layout {
    fn new() -> Layout {
        Layout(Tar::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#))
    }

    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Value {
        let path = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        self.0 = std::mem::take(&mut self.0).file(&path, bytes);
        descriptor(kind, bytes)
    }

    fn image(&mut self, layers: &[(Vec<u8>, &str)], plain: &[Vec<u8>]) -> Value {
        let layers: Vec<Value> =
            layers.iter().map(|(layer, kind)| self.blob(kind, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": self.blob(media_type::OCI_CONFIG, &config(plain)),
            "layers": layers,
        });
        self.blob(media_type::OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    fn finish(self, manifests: &[Value]) -> Tar {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.0.file("index.json", index.to_string().as_bytes())
    }
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// Runs a tool of the host that must succeed; gives its standard output.
pub fn tool(program: &str, args: &[&str]) -> String {
    let done = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; cargo xtask test installs it"));
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {err}");
    String::from_utf8(done.stdout).unwrap()
}
