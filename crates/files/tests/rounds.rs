//! Checkpoints that leave pages in the checkpoint before.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use stasis_files::{Facts, PageOwner, Parents, Previous, Reader, Writer, round_of};
use stasis_model::{NsPid, PageRun};

const OWNER: PageOwner = PageOwner::Process(NsPid(7));
const PAGE: usize = 4096;

/// What each page holds, by its number.
type Memory = BTreeMap<u64, u8>;

#[derive(Clone, Copy, Debug)]
enum Found {
    Linked,
    Given,
}

fn dir(root: &Path, round: usize) -> PathBuf {
    root.join(format!("round-{round}"))
}

/// Those before a round, the youngest first.
fn parents(root: &Path, round: usize) -> Vec<PathBuf> {
    (0..round).rev().map(|before| dir(root, before)).collect()
}

fn previous(root: &Path, round: usize, found: Found) -> Previous {
    let before = round - 1;
    match found {
        Found::Linked => Previous {
            dir: dir(root, before),
            parents: Parents::Linked,
            link: Some(format!("../round-{before}").into()),
        },
        Found::Given => Previous {
            dir: dir(root, before),
            parents: Parents::Given(parents(root, before)),
            link: None,
        },
    }
}

/// Writes one page after the other; those that `stay` are left in the round before if it has them.
fn write(root: &Path, round: usize, found: Found, memory: &Memory, stay: impl Fn(u64) -> bool) {
    let dir = dir(root, round);
    let writer = match round {
        0 => Writer::create(&dir).unwrap(),
        _ => Writer::create_after(&dir, previous(root, round, found)).unwrap(),
    };
    let mut pages = writer.pages(OWNER).unwrap();
    for (page, content) in memory {
        let run = PageRun { start: page * PAGE as u64, nr_pages: 1 };
        let is_known =
            pages.known().iter().any(|known| known.start <= run.start && run.end() <= known.end());
        if is_known && stay(*page) {
            pages.record_known(run).unwrap();
        } else {
            pages.file().write_all(&[*content; PAGE]).unwrap();
            pages.record(run, false).unwrap();
        }
    }
    pages.finish().unwrap();
    let facts = Facts { run_id: Some(format!("round {round}")), ..Facts::default() };
    writer.write_round(&facts).unwrap();
}

fn read(root: &Path, round: usize, found: Found) -> Memory {
    let parents = match found {
        Found::Linked => Parents::Linked,
        Found::Given => Parents::Given(parents(root, round)),
    };
    let reader = Reader::open(&dir(root, round)).unwrap().with_parents(parents);
    let pages = reader.pages(OWNER).unwrap().unwrap();
    let mut memory = Memory::new();
    for stored in pages.runs() {
        for page in 0..stored.run.nr_pages {
            let mut bytes = [0; PAGE];
            let at = page * PAGE as u64;
            pages.file(stored).read_exact_at(&mut bytes, stored.offset + at).unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            memory.insert((stored.run.start + at) / PAGE as u64, bytes[0]);
        }
    }
    memory
}

fn memory() -> impl Strategy<Value = Memory> {
    prop::collection::btree_map(0..40u64, any::<u8>(), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_round_holds_the_memory_of_its_time(
        rounds in prop::collection::vec(memory(), 1..6),
        linked in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let found = if linked { Found::Linked } else { Found::Given };
        for (round, memory) in rounds.iter().enumerate() {
            let before = rounds[..round].last();
            let stay = |page| before.is_some_and(|before| before.get(&page) == memory.get(&page));
            write(root.path(), round, found, memory, stay);
        }
        for (round, memory) in rounds.iter().enumerate() {
            prop_assert_eq!(&read(root.path(), round, found), memory);
        }
    }
}

#[test]
fn a_round_tells_which_it_is_and_is_no_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), 0, Found::Linked, &Memory::from([(1, 1)]), |_| false);
    let dir = dir(root.path(), 0);
    assert_eq!(round_of(&dir).unwrap().as_deref(), Some("round 0"));
    let refused = Reader::open(&dir).unwrap().tree().unwrap_err().to_string();
    assert!(refused.contains("memory alone"), "{refused}");
    assert_eq!(round_of(root.path()).unwrap(), None);
}

/// Two rounds, of which the second has one page of the first.
fn two(root: &Path, found: Found) -> PathBuf {
    let memory = Memory::from([(1, 1), (2, 2)]);
    write(root, 0, found, &memory, |_| false);
    write(root, 1, found, &memory, |page| page == 1);
    dir(root, 1)
}

fn refused(dir: &Path, parents: Parents) -> String {
    Reader::open(dir).unwrap().with_parents(parents).pages(OWNER).unwrap_err().to_string()
}

#[test]
fn given_parents_are_the_only_ones() {
    let root = tempfile::tempdir().unwrap();
    let second = two(root.path(), Found::Linked);
    assert!(second.join("parent").is_symlink());
    let told = refused(&second, Parents::Given(Vec::new()));
    assert!(told.contains("parent is missing"), "{told}");
}

#[test]
fn a_chain_without_end_or_with_a_gap_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let second = two(root.path(), Found::Given);
    symlink(".", second.join("parent")).unwrap();
    let told = refused(&second, Parents::Linked);
    assert!(told.contains("more than 64"), "{told}");
    fs::remove_file(dir(root.path(), 0).join("pages-1.img")).unwrap();
    let told = refused(&second, Parents::Given(parents(root.path(), 1)));
    assert!(told.contains("pages-1.img is missing"), "{told}");
}

#[test]
fn pages_that_the_round_before_has_not_cannot_stay_there() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), 0, Found::Given, &Memory::from([(1, 1)]), |_| false);
    let writer =
        Writer::create_after(&dir(root.path(), 1), previous(root.path(), 1, Found::Given)).unwrap();
    let mut pages = writer.pages(OWNER).unwrap();
    let run = PageRun { start: PAGE as u64, nr_pages: 2 };
    assert!(pages.record_known(run).is_err());
    pages.record_known(PageRun { nr_pages: 1, ..run }).unwrap();
}
