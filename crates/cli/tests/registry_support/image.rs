//! Images made in memory, and put into a registry by its own HTTP interface.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const OCI: &str = "application/vnd.oci.image";
const DOCKER: &str = "application/vnd.docker";

/// In whose words an image is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Oci,
    Docker,
}

/// How layers are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Gzip,
    Plain,
}

/// An image: contents by digest, and the manifest that names them.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub media_type: String,
}

impl Image {
    /// One layer for each list of files.
    pub fn new(kind: Kind, form: Form, layers: &[&[(&str, &[u8])]]) -> Image {
        Image::for_platform(kind, form, layers, "amd64")
    }

    pub fn for_platform(
        kind: Kind,
        form: Form,
        layers: &[&[(&str, &[u8])]],
        architecture: &str,
    ) -> Image {
        let tars: Vec<Vec<u8>> = layers.iter().map(|files| tar(files)).collect();
        let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
        let blobs: Vec<Vec<u8>> = match form {
            Form::Gzip => tars.iter().map(|tar| gzip(tar)).collect(),
            Form::Plain => tars,
        };
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": { "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let (manifest_type, config_type, layer_type) = match (kind, form) {
            (Kind::Oci, Form::Gzip) => ("manifest.v1+json", "config.v1+json", "layer.v1.tar+gzip"),
            (Kind::Oci, Form::Plain) => ("manifest.v1+json", "config.v1+json", "layer.v1.tar"),
            (Kind::Docker, Form::Gzip) => (
                "distribution.manifest.v2+json",
                "container.image.v1+json",
                "image.rootfs.diff.tar.gzip",
            ),
            (Kind::Docker, Form::Plain) => (
                "distribution.manifest.v2+json",
                "container.image.v1+json",
                "image.rootfs.diff.tar",
            ),
        };
        let vendor = if kind == Kind::Oci { OCI } else { DOCKER };
        let descriptor = |kind: &str, blob: &[u8]| json!({ "mediaType": format!("{vendor}.{kind}"), "digest": digest(blob), "size": blob.len() });
        let media_type = format!("{vendor}.{manifest_type}");
        let layers: Vec<Value> = blobs.iter().map(|blob| descriptor(layer_type, blob)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": descriptor(config_type, &config), "layers": layers,
            // Nobody knows it, and it must come back all the same.
            "unknown": "kept",
        });
        // Not as we would write it: bytes must be kept, not values.
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
        Image { layers: blobs, config, manifest, media_type }
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Where an engine with this root unpacks the layers, the lowest first (OCI image-spec, "Layer
    /// ChainID").
    pub fn layer_dirs(&self, root: &Path) -> Vec<PathBuf> {
        let config: Value = serde_json::from_slice(&self.config).unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap().clone();
        let mut chain: Vec<String> = Vec::new();
        for diff_id in diff_ids.iter().map(|id| id.as_str().unwrap()) {
            chain.push(match chain.last() {
                None => diff_id.to_owned(),
                Some(below) => digest(format!("{below} {diff_id}").as_bytes()),
            });
        }
        let dir = |id: &String| root.join("images/layers").join(&id["sha256:".len()..]).join("fs");
        chain.iter().map(dir).collect()
    }

    /// Puts all of it into a registry.
    pub fn put(&self, registry: u16, repository: &str, tag: &str) {
        for blob in self.layers.iter().chain([&self.config]) {
            put_blob(registry, repository, blob);
        }
        put_manifest(registry, repository, tag, &self.media_type, &self.manifest);
    }

    /// What an index says of it.
    pub fn entry(&self, architecture: &str) -> Value {
        json!({
            "mediaType": self.media_type, "digest": self.digest(), "size": self.manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        })
    }
}

/// Puts an index of images into a registry.
pub fn put_index(registry: u16, repository: &str, tag: &str, entries: &[Value]) -> String {
    let media_type = format!("{OCI}.index.v1+json");
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    let index = serde_json::to_vec(&index).unwrap();
    put_manifest(registry, repository, tag, &media_type, &index);
    digest(&index)
}

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Bytes that cannot be compressed, always the same for the same seed (xorshift).
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// An answer of a registry.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Reads something from a registry, as it is.
pub fn get(registry: u16, path: &str) -> Answer {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json, \
                  application/vnd.oci.image.index.v1+json, \
                  application/vnd.docker.distribution.manifest.v2+json\r\n";
    ask(registry, "GET", path, accept, b"")
}

/// A registry that is short of time may reset a connection before it has answered anything; then it is asked again.
fn ask(registry: u16, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    const MOST: usize = 5;
    let mut answers = (0..MOST).map(|_| answer_of(registry, (method, path, headers), body));
    let is_final = |answer: &io::Result<Vec<u8>>| match answer {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionReset,
    };
    let mut answer =
        answers.find(is_final).expect("connections were reset again and again").unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Answer { status, headers, body }
}

/// An old version of the protocol, in which an answer ends with the connection.
fn answer_of(
    registry: u16,
    (method, path, headers): (&str, &str, &str),
    body: &[u8],
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, registry))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost:{registry}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // What is cut short shows itself where it is read.
        Err(_) if !answer.is_empty() => Ok(answer),
        read => read.map(|_| answer),
    }
}

fn put_blob(registry: u16, repository: &str, blob: &[u8]) {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let begun = ask(registry, "POST", &path, "", b"");
    assert_eq!(begun.status, 202, "{}", String::from_utf8_lossy(&begun.body));
    let place = begun.header("Location");
    let place = &place[place.find("/v2/").unwrap()..];
    let headers = "Content-Type: application/octet-stream\r\n";
    let path = format!("{place}&digest={}", digest(blob));
    let done = ask(registry, "PUT", &path, headers, blob);
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
}

fn put_manifest(registry: u16, repository: &str, tag: &str, media_type: &str, manifest: &[u8]) {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let done = ask(registry, "PUT", &path, &format!("Content-Type: {media_type}\r\n"), manifest);
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
}

/// A tar archive of regular files that anybody may execute (POSIX.1, ustar).
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000755\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
