//! What holds for all trees and for all bytes.
#![allow(clippy::unwrap_used)]

mod checkpoints;
mod trees;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    path::Path,
    sync::OnceLock,
    time::{Duration, Instant},
};

use checkpoints::{data, kitchen};
use proptest::prelude::*;
use stasis_files::{
    Facts, PageOwner, Reader, Writer, convert, decode_pagemap, ghost_chunks, tcp_queues,
    wire::any::recode,
};
use stasis_model::{FileKind, GhostContent, InetSocket, Tree};

/// Words of all sizes, so that lists are short as often as numbers are large.
fn words() -> impl Strategy<Value = Vec<u64>> {
    let word = prop_oneof![0..4u64, 0..256u64, any::<u64>(), Just(u64::MAX)];
    prop::collection::vec(word, 0..8000)
}

fn write(dir: &Path, tree: &Tree, facts: &Facts) -> stasis_files::Result<()> {
    let writer = Writer::create(dir)?;
    for process in tree.processes.iter().filter(|process| process.live().is_some()) {
        writer.pages(PageOwner::Process(process.pid))?.finish()?;
    }
    for (id, _) in tree.segment_sizes() {
        writer.pages(PageOwner::Segment(id))?.finish()?;
    }
    for (id, ghost) in &tree.ghosts {
        if matches!(ghost.content, GhostContent::Regular { .. }) {
            writer.ghost(*id, ghost)?;
        }
    }
    for file in tree.files.values() {
        if let FileKind::Inet(InetSocket { socket, connection: Some(connection), .. }) = &file.kind
        {
            writer.tcp_stream(*socket, connection, (&[], &[]))?;
        }
    }
    for tmpfs in tree.namespaces.mounts.iter().filter_map(|mount| mount.tmpfs) {
        writer.tmpfs(tmpfs.device)?;
    }
    writer.write_tree(tree, facts)?;
    writer.finish(tree)
}

/// Fails with the first lines that differ.
fn same<T: PartialEq + Debug>(found: &T, expected: &T) -> Result<(), TestCaseError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
    let lines: Vec<(&str, &str)> = found.lines().zip(expected.lines()).collect();
    let first = lines.iter().position(|(found, expected)| found != expected).unwrap_or(0);
    let around = &lines[first.saturating_sub(20)..(first + 5).min(lines.len())];
    let lines: Vec<String> = around.iter().map(|(f, e)| format!("{f:60} | {e}")).collect();
    Err(TestCaseError::fail(format!("found | expected\n{}", lines.join("\n"))))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_back(words in words()) {
        let (tree, facts) = trees::tree(&words);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &tree, &facts).unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        same(&reader.tree().unwrap(), &tree)?;
        same(&reader.facts().unwrap(), &facts)?;
    }
}

/// What an attacker, or a bad disk, may do to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bits: u8 },
    Word { at: usize, word: u32 },
    Cut { at: usize },
    Double { at: usize, len: usize },
    Insert { at: usize, bytes: Vec<u8> },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        4 => (at(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip { at, bits }),
        2 => (at(), any::<u32>()).prop_map(|(at, word)| Damage::Word { at, word }),
        1 => at().prop_map(|at| Damage::Cut { at }),
        1 => (at(), 0..64usize).prop_map(|(at, len)| Damage::Double { at, len }),
        1 => (at(), prop::collection::vec(any::<u8>(), 0..16))
            .prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let place = |at: usize| at % (bytes.len() + 1);
    match damage {
        Damage::Flip { at, bits } => {
            let at = place(*at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Damage::Word { at, word } => {
            let at = place(*at);
            for (byte, new) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                *byte = new;
            }
        }
        Damage::Cut { at } => bytes.truncate(place(*at)),
        Damage::Double { at, len } => {
            let at = place(*at);
            let part = bytes[at..].iter().take(*len).copied().collect::<Vec<_>>();
            bytes.splice(at..at, part);
        }
        Damage::Insert { at, bytes: new } => {
            let at = place(*at);
            bytes.splice(at..at, new.iter().copied());
        }
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn load(dir: &Path) -> Files {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let encoded = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "img"));
    encoded.map(|f| (f.file_name().into_string().unwrap(), fs::read(f.path()).unwrap())).collect()
}

/// Every way into the decoders, from bytes.
fn decode_all(files: &Files, name: &str) {
    let bytes = &files[name];
    if let Ok(Some(again)) = recode(name, bytes) {
        // What was understood can be written and is then understood in the same way.
        assert_eq!(recode(name, &again).unwrap(), Some(again));
    }
    if name.starts_with("pagemap-") {
        let _ = decode_pagemap(name, bytes);
    }
    if name.starts_with("ghost-file-") {
        let _ = ghost_chunks(name, bytes.as_slice(), bytes.len() as u64);
    }
    if name.starts_with("tcp-stream-") {
        let _ = tcp_queues(name, bytes.as_slice(), bytes.len() as u64);
    }
    if let Ok((tree, facts)) = convert::decode(files) {
        tree.validate().unwrap();
        let _ = convert::encode(&tree, &facts);
    }
}

fn check_damaged(files: &Files, index: usize, damages: &[Damage]) {
    let mut files = files.clone();
    let small =
        files.keys().filter(|name| !name.starts_with("pages-") && !name.starts_with("tmpfs-"));
    let small: Vec<String> = small.cloned().collect();
    let name = &small[index % small.len()];
    for damage in damages {
        apply(files.get_mut(name).unwrap(), damage);
    }
    let start = Instant::now();
    decode_all(&files, name);
    assert!(start.elapsed() < Duration::from_secs(5), "{name} takes too long");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        dump in 0..5usize,
        index in any::<usize>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        static DUMPS: OnceLock<Vec<Files>> = OnceLock::new();
        let dumps = DUMPS.get_or_init(|| {
            let names = ["busybox-counter", "demo", "podman-counter", "shared-memory"];
            let mut dumps: Vec<Files> = names.iter().map(|name| load(&data(name))).collect();
            dumps.push(load(kitchen().path()));
            for files in &mut dumps {
                files.retain(|name, _| !name.starts_with("pages-"));
            }
            dumps
        });
        check_damaged(&dumps[dump], index, &damages);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in stasis_files::wire::magic::FORMATS {
            let name = format!("{}1{}", format.prefix, format.suffix);
            let name = if stasis_files::wire::magic::format_of(&name).is_some() {
                name
            } else {
                format.prefix.into()
            };
            let magics = [0x5456_4319u32.to_le_bytes(), format.magic.to_le_bytes()].concat();
            let files = BTreeMap::from([(name.clone(), [magics, bytes.clone()].concat())]);
            decode_all(&files, &name);
        }
    }
}
