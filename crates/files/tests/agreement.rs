//! What is written from a checkpoint of CRIU says the same as the original, message by message.
//!
//! Where it does not, one of the functions below takes the difference away and says why it is there.
#![allow(clippy::unwrap_used)]

mod checkpoints;

use std::{collections::BTreeMap, fmt::Debug, fs, path::Path};

use checkpoints::{data, kitchen};
use prost::Message;
use stasis_files::{
    Reader, convert,
    wire::{
        any::recode,
        cgroup::CgroupEntry,
        fdinfo::FileEntry,
        framing::Records,
        inventory::InventoryEntry,
        magic::format_of,
        memfd::MemfdInodeEntry,
        mnt::MntEntry,
        pstree::PstreeEntry,
        tty::{TermiosEntry, TtyDataEntry, TtyInfoEntry},
    },
};

/// How connections were locked is a matter of who made the checkpoint.
fn lock(inventory: &mut InventoryEntry) {
    inventory.network_lock_method = None;
}

/// CRIU writes whatever was in memory as the only thread of a zombie.
fn zombie(process: &mut PstreeEntry) {
    if process.threads.len() == 1 {
        process.threads = vec![process.pid];
    }
}

/// Inodes of memfds are numbered anew.
fn inode(memfd: &mut MemfdInodeEntry) {
    memfd.inode_id = 0;
}

/// The same, in the files that lead to them.
fn file(file: &mut FileEntry) {
    if let Some(memfd) = &mut file.memfd {
        memfd.inode_id = 0;
    }
}

/// Nineteen bytes are in nineteen words; what follows the fifth is whatever was in memory.
fn terminal(terminal: &mut TtyInfoEntry) {
    let characters = |termios: &mut Option<TermiosEntry>| {
        let words = &mut termios.as_mut().unwrap().c_cc;
        words.truncate(5);
        words[4] &= 0xff_ffff;
    };
    characters(&mut terminal.termios);
    characters(&mut terminal.termios_locked);
}

/// The settings of control groups are not part of a tree.
fn settings(cgroup: &mut CgroupEntry) {
    cgroup.controllers.clear();
}

/// Only the order of the records differs.
fn order<M>(_: &mut M) {}

/// Streams, which are not part of the encoded tree; other tests compare their contents.
fn is_stream(name: &str) -> bool {
    let prefixes = ["pages-", "pagemap-", "ghost-file-", "tcp-stream-", "tmpfs-dev-"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn originals(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let encoded = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "img"));
    let named = encoded
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    named.filter(|(name, _)| !is_stream(name)).collect()
}

/// The records of a file in an order of their own, since that of the file means nothing.
fn explained<M: Message + Default + Debug>(
    name: &str,
    bytes: &[u8],
    explain: impl Fn(&mut M),
) -> Vec<String> {
    let records = Records::open(name, format_of(name).unwrap(), bytes).unwrap().all::<M>();
    let mut records = records.unwrap();
    records.iter_mut().for_each(explain);
    let mut texts: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    texts.sort();
    texts
}

fn compare(name: &str, bytes: &[u8]) -> Vec<String> {
    match name.split(['-', '.']).next().unwrap() {
        "inventory" => explained(name, bytes, lock),
        "pstree" => explained(name, bytes, zombie),
        "memfd" => explained(name, bytes, inode),
        "files" => explained(name, bytes, file),
        "tty" if name == "tty-info.img" => explained(name, bytes, terminal),
        "cgroup" => explained(name, bytes, settings),
        "mountpoints" => explained(name, bytes, order::<MntEntry>),
        "tty" => explained(name, bytes, order::<TtyDataEntry>),
        // Everything else is the same to the last byte.
        _ => vec![format!("{:?}", recode(name, bytes).unwrap().unwrap())],
    }
}

fn check(dir: &Path) {
    let reader = Reader::open(dir).unwrap();
    let written = convert::encode(&reader.tree().unwrap(), &reader.facts().unwrap()).unwrap();
    let originals = originals(dir);
    assert_eq!(written.keys().collect::<Vec<_>>(), originals.keys().collect::<Vec<_>>());
    for (name, original) in &originals {
        assert_eq!(compare(name, &written[name]), compare(name, original), "{name}");
    }
}

#[test]
fn busybox_counter_agrees() {
    check(&data("busybox-counter"));
}

#[test]
fn demo_agrees() {
    check(&data("demo"));
}

#[test]
fn shared_memory_agrees() {
    check(&data("shared-memory"));
}

#[test]
fn kitchen_agrees() {
    check(kitchen().path());
}

#[test]
fn podman_counter_agrees() {
    check(&data("podman-counter"));
}
