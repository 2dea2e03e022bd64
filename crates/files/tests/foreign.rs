//! Forms that checkpoints of other releases and options of CRIU have.
#![allow(clippy::unwrap_used)]

mod checkpoints;

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileExt, symlink},
    path::Path,
};

use checkpoints::{copy, data, kitchen};
use stasis_files::{
    Error, PageOwner, Reader, Writer,
    wire::{
        core::CoreEntry,
        fdinfo::FileEntry,
        framing::{RecordWriter, Records},
        inventory::InventoryEntry,
        magic::format_of,
        mm::{MmEntry, VmaEntry},
        pagemap::{PagemapEntry, PagemapHead},
        pstree::{PstreeEntry, TaskKobjIdsEntry},
        seccomp::{SeccompEntry, SeccompFilter},
    },
};
use stasis_model::{Backing, FileKind, NsPid, PAGE_SIZE, PageRun, SeccompMode, SegmentId, Tree};

const LEADER: NsPid = NsPid(19086);

/// Changes the records of one file.
fn change<M: prost::Message + Default>(dir: &Path, name: &str, change: impl Fn(&mut M)) {
    let format = format_of(name).unwrap();
    let bytes = fs::read(dir.join(name)).unwrap();
    let mut written = RecordWriter::new(format);
    for mut message in Records::open(name, format, &bytes).unwrap().all::<M>().unwrap() {
        change(&mut message);
        written.record(&message);
    }
    fs::write(dir.join(name), written.into_bytes()).unwrap();
}

fn put<M: prost::Message>(dir: &Path, name: &str, message: &M) {
    let mut written = RecordWriter::new(format_of(name).unwrap());
    written.record(message);
    fs::write(dir.join(name), written.into_bytes()).unwrap();
}

fn tree(dir: &Path) -> Tree {
    Reader::open(dir).unwrap().tree().unwrap()
}

fn error(dir: &Path) -> String {
    Reader::open(dir).unwrap().tree().unwrap_err().to_string()
}

/// A list of pages, and as many pages as are present; page n of the file is filled with `fill` + n.
fn pagemap(dir: &Path, pages_id: u32, entries: &[PagemapEntry], nr_pages: u64, fill: u8) {
    let name = "pagemap-7.img";
    let mut written = RecordWriter::new(format_of(name).unwrap());
    written.record(&PagemapHead { pages_id });
    for entry in entries {
        written.record(entry);
    }
    fs::write(dir.join(name), written.into_bytes()).unwrap();
    if nr_pages > 0 {
        let pages = (0..nr_pages).flat_map(|page| vec![fill + page as u8; PAGE_SIZE as usize]);
        fs::write(dir.join(format!("pages-{pages_id}.img")), pages.collect::<Vec<u8>>()).unwrap();
    }
}

fn entry(page: u64, flags: u32, nr_pages: u64) -> PagemapEntry {
    PagemapEntry {
        vaddr: page * PAGE_SIZE,
        flags: Some(flags),
        nr_pages: Some(nr_pages),
        ..Default::default()
    }
}

const OWNER: PageOwner = PageOwner::Process(NsPid(7));

/// A directory that passes for a checkpoint.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(data("demo").join("inventory.img"), dir.path().join("inventory.img")).unwrap();
    dir
}

/// The number of each stored page, and the first byte of its content.
fn stored(dir: &Path) -> Vec<(u64, u8)> {
    let reader = Reader::open(dir).unwrap().pages(OWNER).unwrap().unwrap();
    let mut pages = Vec::new();
    for run in reader.runs() {
        for page in 0..run.run.nr_pages {
            let mut byte = [0];
            reader.file(run).read_exact_at(&mut byte, run.offset + page * PAGE_SIZE).unwrap();
            pages.push((run.run.start / PAGE_SIZE + page, byte[0]));
        }
    }
    pages
}

fn pages_error(dir: &Path) -> Error {
    Reader::open(dir).unwrap().pages(OWNER).unwrap_err()
}

#[test]
fn pages_of_the_checkpoint_before_are_found_there() {
    let (first, second, third) = (directory(), directory(), directory());
    pagemap(first.path(), 1, &[entry(10, 4, 4), entry(14, 6, 2)], 6, 0);
    symlink(first.path(), second.path().join("parent")).unwrap();
    pagemap(second.path(), 1, &[entry(10, 1, 1), entry(11, 4, 1), entry(12, 1, 4)], 1, 100);
    symlink(second.path(), third.path().join("parent")).unwrap();
    pagemap(third.path(), 5, &[entry(10, 1, 3), entry(14, 4, 1), entry(15, 1, 1)], 1, 200);
    let expect = [(10, 0), (11, 100), (12, 2), (14, 200), (15, 5)];
    assert_eq!(stored(third.path()), expect);
}

#[test]
fn a_page_that_no_checkpoint_before_has_is_missed() {
    let (first, second) = (directory(), directory());
    pagemap(first.path(), 1, &[entry(10, 4, 1)], 1, 0);
    symlink(first.path(), second.path().join("parent")).unwrap();
    pagemap(second.path(), 1, &[entry(10, 1, 2)], 0, 0);
    let error = pages_error(second.path()).to_string();
    assert!(error.contains("does not have the page at 0xb000"), "{error}");
}

#[test]
fn a_circle_of_parents_ends() {
    let dir = directory();
    pagemap(dir.path(), 1, &[entry(10, 1, 1)], 0, 0);
    assert!(matches!(pages_error(dir.path()), Error::Missing { .. }));
    symlink(".", dir.path().join("parent")).unwrap();
    let error = pages_error(dir.path()).to_string();
    assert!(error.contains("leads through more than"), "{error}");
}

#[test]
fn old_records_have_their_numbers_elsewhere() {
    let dir = directory();
    let old = PagemapEntry { vaddr: PAGE_SIZE, compat_nr_pages: 2, ..Default::default() };
    pagemap(dir.path(), 1, &[old], 2, 7);
    assert_eq!(stored(dir.path()), [(1, 7), (2, 8)]);
}

#[test]
fn page_contents_must_be_there() {
    let dir = directory();
    pagemap(dir.path(), 1, &[entry(1, 4, 2)], 1, 0);
    assert!(pages_error(dir.path()).to_string().contains("instead of 2 pages"));
    fs::remove_file(dir.path().join("pages-1.img")).unwrap();
    assert!(matches!(pages_error(dir.path()), Error::Missing { .. }));
    pagemap(dir.path(), 1, &[entry(1, 2, 2)], 0, 0);
    assert!(matches!(pages_error(dir.path()), Error::Unsupported { .. }));
}

#[test]
fn runs_must_ascend_and_end_inside_the_address_space() {
    let dir = directory();
    let disorder = [entry(5, 4, 2), entry(6, 4, 1)];
    let beyond = [entry(5, 4, u64::MAX / PAGE_SIZE)];
    let askew = [PagemapEntry { vaddr: 5, ..entry(0, 4, 1) }];
    for entries in [&disorder[..], &beyond, &askew] {
        pagemap(dir.path(), 1, entries, 3, 0);
        assert!(matches!(pages_error(dir.path()), Error::Corrupt { .. }));
    }
}

#[test]
fn a_link_in_place_of_a_file_is_refused() {
    let dir = copy(&data("demo"));
    let (file, elsewhere) = (dir.path().join("files.img"), dir.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(error(dir.path()).contains("cannot open checkpoint file"));
}

#[test]
fn version_1_lacks_the_common_magic() {
    let dir = copy(&data("demo"));
    for file in fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if bytes.starts_with(&0x5456_4319u32.to_le_bytes()) {
            fs::write(&path, &bytes[4..]).unwrap();
        }
    }
    change(dir.path(), "inventory.img", |entry: &mut InventoryEntry| entry.img_version = 1);
    assert_eq!(tree(dir.path()), tree(&data("demo")));
}

#[test]
fn unknown_versions_and_pre_dumps_are_refused() {
    let dir = copy(&data("demo"));
    change(dir.path(), "inventory.img", |entry: &mut InventoryEntry| entry.img_version = 3);
    assert!(error(dir.path()).contains("version 3"));
    change(dir.path(), "inventory.img", |entry: &mut InventoryEntry| entry.img_version = 0);
    assert!(error(dir.path()).contains("pre-dump"));
}

#[test]
fn optional_files_may_be_missing_and_others_not() {
    let dir = copy(&data("demo"));
    for name in ["seccomp.img", "timens-0.img", "pipes-data.img", "sk-queues.img"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let tree = tree(dir.path());
    assert_eq!((tree.clocks, tree.pipes.len(), tree.packets.len()), (None, 0, 0));
    fs::remove_file(dir.path().join("fs-19088.img")).unwrap();
    let expect = "checkpoint file fs-19088.img is missing (process 19088 needs it)";
    assert_eq!(error(dir.path()), expect);
}

#[test]
fn lists_of_pages_must_not_be_missing() {
    let dir = copy(&data("shared-memory"));
    fs::remove_file(dir.path().join("pagemap-shmem-67077.img")).unwrap();
    assert!(error(dir.path()).contains("shared memory of 65536 bytes needs it"));
}

#[test]
fn shared_memory_may_be_mapped_by_its_number() {
    let dir = copy(&data("demo"));
    change(dir.path(), "mm-19086.img", |mm: &mut MmEntry| {
        let segment = VmaEntry {
            start: 0x1000,
            end: 0x4000,
            pgoff: 0x1000,
            shmid: 77,
            prot: 3,
            flags: 0x21,
            status: 0x101,
            fd: -1,
            ..Default::default()
        };
        mm.vmas.insert(0, segment);
    });
    fs::copy(
        data("shared-memory").join("pagemap-shmem-67077.img"),
        dir.path().join("pagemap-shmem-77.img"),
    )
    .unwrap();
    let tree = tree(dir.path());
    assert_eq!(tree.segments[&SegmentId(77)].size, 0x4000);
    let vma = &tree.root().live().unwrap().memory.vmas[0];
    assert_eq!(vma.backing, Backing::SegmentShared { segment: SegmentId(77), offset: 0x1000 });
}

#[test]
fn filters_of_all_threads_are_recorded_with_the_leader_only() {
    let dir = copy(&data("demo"));
    let filter =
        |prev, flags| SeccompFilter { filter: vec![6, 0, 0, 0, 0, 0, 255, 127], prev, flags };
    let filters =
        SeccompEntry { seccomp_filters: vec![filter(None, Some(1)), filter(Some(0), Some(3))] };
    put(dir.path(), "seccomp.img", &filters);
    change(dir.path(), "core-19086.img", |core: &mut CoreEntry| {
        let thread = core.thread_core.as_mut().unwrap();
        (thread.seccomp_mode, thread.seccomp_filter) = (Some(2), Some(1));
    });
    let tree = tree(dir.path());
    let modes = |index: usize| {
        let threads = &tree.processes[index].live().unwrap().threads;
        threads.iter().map(|thread| thread.seccomp).collect::<Vec<_>>()
    };
    assert_eq!(modes(0), [SeccompMode::Filter { oldest: 1 }; 2]);
    assert_eq!(modes(1), [SeccompMode::Disabled]);
    assert_eq!((tree.seccomp_filters[0].flags, tree.seccomp_filters[1].flags), (0, 2));
}

#[test]
fn the_other_number_of_a_zombie_is_read() {
    let dir = kitchen();
    change(dir.path(), "core-24100.img", |core: &mut CoreEntry| {
        core.tc.as_mut().unwrap().task_state = 6;
    });
    assert_eq!(tree(dir.path()), tree(kitchen().path()));
}

#[test]
fn required_fields_must_be_there() {
    let dir = copy(&data("demo"));
    let path = dir.path().join("fs-19086.img");
    let header = fs::read(&path).unwrap()[..8].to_vec();
    fs::write(&path, [header, vec![2, 0, 0, 0, 2 << 3, 8]].concat()).unwrap();
    let expect = "checkpoint file fs-19086.img, record 1: lacks field number 1";
    assert_eq!(error(dir.path()), expect);
}

/// Connections of a tree: how many are there, and of how many more than the addresses is known.
fn connections(tree: &Tree) -> (usize, usize) {
    let sockets = tree.files.values().filter_map(|file| match &file.kind {
        FileKind::Inet(socket) if socket.is_connection() => Some(socket),
        _ => None,
    });
    let sockets: Vec<_> = sockets.collect();
    (sockets.len(), sockets.iter().filter(|socket| socket.connection.is_some()).count())
}

#[test]
fn connections_may_come_back_closed() {
    let dir = kitchen();
    assert_eq!(connections(&tree(dir.path())), (2, 2));
    let missing = "checkpoint file tcp-stream-4debf5.img is missing (a TCP connection needs it)";
    fs::remove_file(dir.path().join("tcp-stream-4debf5.img")).unwrap();
    assert_eq!(error(dir.path()), missing);
    fs::remove_file(dir.path().join("tcp-stream-4debf6.img")).unwrap();
    change(dir.path(), "inventory.img", |entry: &mut InventoryEntry| entry.tcp_close = Some(true));
    assert_eq!(connections(&tree(dir.path())), (2, 0));
}

#[test]
fn queues_of_connections_must_be_whole() {
    let dir = kitchen();
    let path = dir.path().join("tcp-stream-4debf6.img");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let expect = "checkpoint file tcp-stream-4debf6.img, record 1, field outq_len: \
                  queues are cut short";
    assert_eq!(error(dir.path()), expect);
}

#[test]
fn other_namespaces_than_the_roots_are_refused() {
    let dir = copy(&data("demo"));
    change(dir.path(), "ids-19088.img", |ids: &mut TaskKobjIdsEntry| ids.net_ns_id = Some(9));
    let expect = "process 19088: it is in another net namespace than the root of the tree";
    assert_eq!(error(dir.path()), expect);
}

#[test]
fn compatibility_mode_is_refused() {
    let dir = copy(&data("demo"));
    change(dir.path(), "core-19089.img", |core: &mut CoreEntry| {
        core.thread_info.as_mut().unwrap().gpregs.mode = Some(2);
    });
    assert_eq!(error(dir.path()), "thread 19089: 32-bit programs cannot be restored");
}

#[test]
fn a_wrong_number_of_dispositions_is_told_with_its_place() {
    let dir = copy(&data("demo"));
    change(dir.path(), "core-19088.img", |core: &mut CoreEntry| {
        core.tc.as_mut().unwrap().sigactions.pop();
    });
    let expect = "checkpoint file core-19088.img, record 1, field sigactions: \
                  has 61 entries instead of 62";
    assert_eq!(error(dir.path()), expect);
}

#[test]
fn files_must_be_of_the_kind_that_descriptors_say() {
    let dir = copy(&data("demo"));
    change(dir.path(), "files.img", |file: &mut FileEntry| {
        if file.id == 4 {
            file.r#type = 1;
            file.reg = Some(Default::default());
            file.reg.as_mut().unwrap().name = b"/".to_vec();
        }
    });
    assert!(error(dir.path()).contains("fdinfo-2.img, record 4, field type"));
}

#[test]
fn a_tree_without_its_root_contradicts_itself() {
    let dir = copy(&data("demo"));
    change(dir.path(), "pstree.img", |entry: &mut PstreeEntry| entry.ppid += 1);
    assert!(matches!(Reader::open(dir.path()).unwrap().tree(), Err(Error::Invalid(_))));
}

#[test]
fn a_writer_misses_what_was_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, facts) =
        (tree(&data("demo")), Reader::open(&data("demo")).unwrap().facts().unwrap());
    let writer = Writer::create(dir.path()).unwrap();
    writer.write_tree(&tree, &facts).unwrap();
    let Err(Error::Missing { file, .. }) = writer.finish(&tree) else { panic!("it is complete") };
    assert!(file.starts_with("ghost-file-"), "{file}");
}

#[test]
fn page_writers_join_runs_and_count() {
    let dir = directory();
    let writer = Writer::create(dir.path()).unwrap();
    let run = |page: u64, nr_pages| PageRun { start: page * PAGE_SIZE, nr_pages };
    let mut pages = writer.pages(OWNER).unwrap();
    pages.record(run(1, 2), false).unwrap();
    pages.record(run(3, 1), false).unwrap();
    pages.record(run(4, 1), true).unwrap();
    assert!(pages.record(run(4, 1), true).is_err(), "runs do not overlap");
    pages.file().write_all(&[1; 4 * PAGE_SIZE as usize]).unwrap();
    pages.finish().unwrap();
    let runs = Reader::open(dir.path()).unwrap().pages(OWNER).unwrap().unwrap();
    let runs: Vec<PageRun> = runs.runs().iter().map(|stored| stored.run).collect();
    assert_eq!(runs, [run(1, 3), run(4, 1)]);

    let mut short = writer.pages(PageOwner::Process(LEADER)).unwrap();
    short.record(run(1, 2), false).unwrap();
    short.file().write_all(&[1; PAGE_SIZE as usize]).unwrap();
    assert!(matches!(short.finish(), Err(Error::Corrupt { .. })));
    assert!(writer.pages(PageOwner::Process(NsPid(9))).unwrap().finish().is_ok());
    assert!(!dir.path().join("pages-3.img").exists(), "there is nothing in it");
}
