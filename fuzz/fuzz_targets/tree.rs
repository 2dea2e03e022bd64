//! Damage done to a real checkpoint: it is refused, or gives a tree that is valid.
#![no_main]

use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use stasis_files::{
    convert,
    wire::{
        fdinfo::{FdinfoEntry, FileEntry},
        framing::{RecordWriter, Records},
        magic::format_of,
    },
};

#[derive(Arbitrary, Debug)]
struct Input {
    checkpoint: u8,
    damages: Vec<Damage>,
}

#[derive(Arbitrary, Debug)]
struct Damage {
    file: u8,
    at: u16,
    /// How many bytes are taken away, and what is put in their place.
    removed: u8,
    inserted: Vec<u8>,
}

type Files = BTreeMap<String, Vec<u8>>;

fuzz_target!(|input: Input| {
    let all = checkpoints();
    let mut files = all[usize::from(input.checkpoint) % all.len()].clone();
    for damage in &input.damages {
        apply(&mut files, damage);
    }
    if let Ok((tree, facts)) = convert::decode(&files) {
        tree.validate().unwrap();
        let _ = convert::encode(&tree, &facts);
    }
});

fn apply(files: &mut Files, damage: &Damage) {
    let index = usize::from(damage.file) % files.len();
    let bytes = files.values_mut().nth(index).unwrap();
    let start = usize::from(damage.at) % (bytes.len() + 1);
    let end = (start + usize::from(damage.removed)).min(bytes.len());
    bytes.splice(start..end, damage.inserted.iter().copied());
}

fn checkpoints() -> &'static [Files] {
    static CHECKPOINTS: OnceLock<Vec<Files>> = OnceLock::new();
    CHECKPOINTS.get_or_init(|| {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/files/tests/data");
        let names = ["busybox-counter", "demo", "kitchen", "podman-counter", "shared-memory"];
        let mut all: Vec<Files> = names.iter().map(|name| load(&data.join(name))).collect();
        all.iter_mut().for_each(make_restorable);
        all
    })
}

/// All files but those with contents of pages and file systems.
fn load(dir: &Path) -> Files {
    let mut files = Files::new();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let is_stream = name.starts_with("pages-") || name.starts_with("tmpfs-");
        if name.ends_with(".img") && !is_stream {
            files.insert(name, fs::read(file.path()).unwrap());
        }
    }
    files
}

/// Takes away what would be refused anyway: connections and netlink sockets.
fn make_restorable(files: &mut Files) {
    const NETLINKSK: u32 = 13;
    let mut refused = Vec::new();
    keep(files, "files.img", |entry: &FileEntry| {
        let connected =
            entry.isk.as_ref().is_some_and(|socket| socket.proto == 6 && socket.dst_port != 0);
        if connected || entry.r#type == NETLINKSK {
            refused.push(entry.id);
        }
        !refused.contains(&entry.id)
    });
    let tables: Vec<String> =
        files.keys().filter(|name| name.starts_with("fdinfo-")).cloned().collect();
    for name in tables {
        keep(files, &name, |entry: &FdinfoEntry| !refused.contains(&entry.id));
    }
}

fn keep<M: prost::Message + Default>(
    files: &mut Files,
    name: &str,
    mut wanted: impl FnMut(&M) -> bool,
) {
    let format = format_of(name).unwrap();
    let records: Vec<M> = Records::open(name, format, &files[name]).unwrap().all().unwrap();
    let mut written = RecordWriter::new(format);
    records.iter().filter(|record| wanted(record)).for_each(|record| written.record(record));
    files.insert(name.into(), written.into_bytes());
}
