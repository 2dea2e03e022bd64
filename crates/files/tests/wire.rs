//! Files written by CRIU 4.2 itself: decoded and encoded again they are the same bytes, and the
//! values are those that CRIU's own decoder shows.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use serde_json::Value;
use stasis_files::wire::{
    any::recode,
    core::CoreEntry,
    fdinfo::FileEntry,
    fpregs,
    framing::Records,
    magic::format_of,
    mm::MmEntry,
    pagemap::{PagemapEntry, PagemapHead},
    pstree::PstreeEntry,
};

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

#[test]
fn every_file_comes_back_byte_by_byte() {
    let mut count = 0;
    for dump in ["busybox-counter", "demo", "kitchen", "podman-counter", "shared-memory"] {
        for file in fs::read_dir(data().join(dump)).unwrap() {
            let file = file.unwrap();
            if !file.file_type().unwrap().is_file() {
                continue;
            }
            let name = file.file_name().into_string().unwrap();
            let bytes = fs::read(file.path()).unwrap();
            let again = recode(&name, &bytes).unwrap().expect("a kind of file that is known");
            assert!(again == bytes, "{} changes", file.path().display());
            count += 1;
        }
    }
    assert!(count > 130, "only {count} files were there");
}

fn records<M: prost::Message + Default>(file: &str) -> Vec<M> {
    let bytes = fs::read(data().join("demo").join(file)).unwrap();
    Records::open(file, format_of(file).unwrap(), &bytes).unwrap().all().unwrap()
}

fn json(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(data().join("demo/json").join(file)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["entries"].as_array().unwrap().clone()
}

/// A number, which the decoder shows plainly or as text in base 16.
fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap(),
        other => other.as_u64().unwrap(),
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn pstree_agrees_with_the_decoder_of_criu() {
    let expected = json("pstree.json");
    let entries = records::<PstreeEntry>("pstree.img");
    assert_eq!(entries.len(), expected.len());
    for (entry, expect) in entries.iter().zip(&expected) {
        assert_eq!(u64::from(entry.pid), number(&expect["pid"]));
        assert_eq!(u64::from(entry.ppid), number(&expect["ppid"]));
        let threads: Vec<u64> = entry.threads.iter().map(|tid| u64::from(*tid)).collect();
        assert_eq!(threads, numbers(&expect["threads"]));
    }
}

#[test]
fn files_agree_with_the_decoder_of_criu() {
    let expected = json("files.json");
    let entries = records::<FileEntry>("files.img");
    assert_eq!(entries.len(), expected.len());
    for (entry, expect) in entries.iter().zip(&expected) {
        assert_eq!(u64::from(entry.id), number(&expect["id"]));
        let Some(reg) = &entry.reg else { continue };
        assert_eq!(reg.name, expect["reg"]["name"].as_str().unwrap().as_bytes());
        assert_eq!(reg.pos, number(&expect["reg"]["pos"]));
        assert_eq!(reg.size, expect["reg"].get("size").map(number));
        assert_eq!(reg.mode.map(u64::from), expect["reg"].get("mode").map(number));
    }
}

#[test]
fn registers_agree_with_the_decoder_of_criu() {
    let expect = &json("core-19089.json")[0]["thread_info"];
    let info = records::<CoreEntry>("core-19089.img").remove(0).thread_info.unwrap();
    assert_eq!(info.gpregs.ip, number(&expect["gpregs"]["ip"]));
    assert_eq!(info.gpregs.ax, number(&expect["gpregs"]["ax"]));
    assert_eq!(info.gpregs.fs_base, number(&expect["gpregs"]["fs_base"]));
    let fpregs = fpregs::decode(&info.fpregs).unwrap();
    assert_eq!(fpregs::encode(&fpregs), info.fpregs);
    let xmm: Vec<u64> = fpregs.xmm_space.iter().map(|word| u64::from(*word)).collect();
    assert_eq!(xmm, numbers(&expect["fpregs"]["xmm_space"]));
    let xsave = fpregs.xsave.unwrap();
    assert_eq!(xsave.hi16_zmm, numbers(&expect["fpregs"]["xsave"]["hi16_zmm"]));
}

#[test]
fn mappings_agree_with_the_decoder_of_criu() {
    let expect = &json("mm-19086.json")[0];
    let mm = records::<MmEntry>("mm-19086.img").remove(0);
    assert_eq!(mm.mm_saved_auxv, numbers(&expect["mm_saved_auxv"]));
    for (vma, expect) in mm.vmas.iter().zip(expect["vmas"].as_array().unwrap()) {
        assert_eq!((vma.start, vma.end), (number(&expect["start"]), number(&expect["end"])));
        assert_eq!(vma.fd, expect["fd"].as_i64().unwrap());
        assert_eq!(vma.madv, expect.get("madv").map(number));
    }
}

#[test]
fn the_pagemap_agrees_with_the_decoder_of_criu() {
    let expect = json("pagemap-19086.json");
    let bytes = fs::read(data().join("demo/pagemap-19086.img")).unwrap();
    let format = format_of("pagemap-19086.img").unwrap();
    let mut file = Records::open("pagemap-19086.img", format, &bytes).unwrap();
    let head: PagemapHead = file.single().unwrap();
    assert_eq!(u64::from(head.pages_id), number(&expect[0]["pages_id"]));
    let entries: Vec<PagemapEntry> = file.all().unwrap();
    assert_eq!(entries.len(), expect.len() - 1);
    for (entry, expect) in entries.iter().zip(&expect[1..]) {
        assert_eq!(entry.vaddr, number(&expect["vaddr"]));
        assert_eq!(entry.nr_pages, expect.get("nr_pages").map(number));
    }
}
