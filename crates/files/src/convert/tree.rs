//! The tree as a whole.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{
    Backing, FileId, FileKind, Namespaces, Process, Remap, SegmentId, State, TableId, Tree,
};

use super::{
    Facts, cgroup,
    descriptors::{self, Table},
    file_lock, inventory,
    memory::{self, SharedFiles},
    namespaces,
    open_file::{self, Numbers, Surroundings},
    packets, pipes,
    process::{self, Raw},
    processor, remap, seccomp, segments,
    source::{Input, Output, Source},
    tcp_stream, terminals,
};
use crate::{
    Error, Result,
    error::Place,
    many,
    wire::{mm::MmEntry, pstree::TaskKobjIdsEntry, seccomp::SeccompEntry},
};

const SECCOMP: &str = "seccomp.img";

/// Encodes a tree as checkpoint files: all of them but the streams, which are page contents, ghosts,
/// tmpfs contents and the queues of TCP connections.
///
/// # Errors
/// [`Error::Invalid`] if the tree cannot be, [`Error::Unwritable`] if the format cannot hold it.
pub fn encode(tree: &Tree, facts: &Facts) -> Result<BTreeMap<String, Vec<u8>>> {
    tree.validate()?;
    let mut out = Output::default();
    let numbers = Numbers::of(tree);
    let synchronised = seccomp::Synchronised::of(tree);
    let inodes = segments::encode(tree, &mut out)?;
    inventory::encode(tree, facts, &mut out);
    processor::encode(facts.processor.as_ref(), &mut out);
    let context = process::Context {
        tree,
        seccomp: &synchronised,
        cg_set: cgroup::trees_set(&tree.namespaces),
        segment_files: &numbers.segments,
    };
    process::encode(&context, &mut out)?;
    open_file::encode(tree, &numbers, &inodes, &mut out)?;
    descriptors::encode(tree, &mut out);
    remap::encode(tree, &numbers, &mut out)?;
    pipes::encode(tree, &mut out)?;
    packets::encode(&tree.packets, &mut out)?;
    terminals::encode(&tree.terminals, &mut out)?;
    file_lock::encode(&tree.locks, &mut out);
    out.single(SECCOMP, &synchronised.encode(&tree.seccomp_filters));
    cgroup::encode(&tree.namespaces, &mut out);
    namespaces::encode(&tree.namespaces, tree.clocks.as_ref(), facts, &mut out)?;
    Ok(out.files)
}

/// Decodes a tree and what else the files tell.
///
/// # Errors
/// [`Error::Missing`], [`Error::Corrupt`] and [`Error::Invalid`] if the files are not sound,
/// [`Error::Unsupported`] if they hold what the model does not have.
pub fn decode(source: &dyn Source) -> Result<(Tree, Facts)> {
    let input = Input(source);
    let inventory = inventory::decode(input)?;
    let raws = process::read(input)?;
    let root = root_ids(&raws)?;
    let tables = decode_tables(input, &raws)?;
    let mms: Vec<&MmEntry> = raws.iter().filter_map(|raw| Some(&raw.live.as_ref()?.mm)).collect();
    let (mut segments, inodes) = segments::decode(input)?;
    for (id, segment) in memory::direct_segments(&mms) {
        segments.entry(id).or_insert(segment);
    }
    let remaps = remap::decode(input)?;
    let around = Surroundings {
        remaps: &remaps,
        inodes: &inodes,
        connection: &|socket| match inventory.tcp_close {
            true => tcp_stream::decode_if_there(input, socket),
            false => tcp_stream::decode(input, socket).map(Some),
        },
        describe: &|file| describe(&raws, &tables, file),
    };
    let files = open_file::decode(input, &around)?;
    for (id, table) in &tables {
        descriptors::check_types(*id, table, &files.files)?;
    }
    let own = namespaces::own(&inventory.supervisor, &root);
    let mut tree = Tree {
        processes: Vec::new(),
        tables: tables.into_iter().map(|(id, table)| (id, table.table)).collect(),
        ghosts: remap::decode_ghosts(input, &remaps)?,
        files: files.files,
        pipes: pipes::decode(input)?,
        segments,
        terminals: terminals::decode(input)?,
        packets: packets::decode(input)?,
        locks: file_lock::decode(input)?,
        seccomp_filters: Vec::new(),
        clocks: namespaces::decode_clocks(input, &own, &root)?,
        namespaces: Namespaces {
            cgroups: cgroup::decode(input, process::cgroup_set(&raws[0]))?,
            ..namespaces::decode(input, own.clone(), &root)?
        },
    };
    decode_processes(input, &raws, &mut tree)?;
    drop_stand_ins(&mut tree, &files.embedded);
    check_streams(input, &tree)?;
    tree.validate()?;
    let facts = Facts {
        processor: processor::decode(input)?,
        ..inventory::decode_facts(input, inventory, &own, &root)?
    };
    Ok((tree, facts))
}

/// The ids of the root; all others must be in the same namespaces.
fn root_ids(raws: &[Raw]) -> Result<TaskKobjIdsEntry> {
    let Some(root) = raws[0].live.as_ref() else {
        return Err(Error::unsupported("the tree", "its root is dead"));
    };
    for raw in raws {
        if let Some(live) = &raw.live {
            namespaces::check_same(raw.pid, &root.ids, &live.ids)?;
        }
    }
    Ok(root.ids.clone())
}

fn decode_tables(input: Input, raws: &[Raw]) -> Result<BTreeMap<TableId, Table>> {
    let ids: BTreeSet<TableId> =
        raws.iter().filter_map(|raw| Some(TableId(raw.live.as_ref()?.ids.files_id))).collect();
    let tables = many::map(ids, |id| Ok((id, descriptors::decode(input, id)?)))?;
    Ok(tables.into_iter().collect())
}

/// Says who has a file open.
fn describe(raws: &[Raw], tables: &BTreeMap<TableId, Table>, file: FileId) -> String {
    for raw in raws {
        let table = raw.live.as_ref().and_then(|live| tables.get(&TableId(live.ids.files_id)));
        let descriptors = table.iter().flat_map(|table| &table.table.descriptors);
        for (fd, descriptor) in descriptors {
            if descriptor.file == file {
                return format!("process {}, descriptor {fd}", raw.pid);
            }
        }
    }
    format!("file {file}")
}

fn decode_processes(input: Input, raws: &[Raw], tree: &mut Tree) -> Result<()> {
    let segments_by_file = tree.files.iter().filter_map(|(id, file)| match &file.kind {
        FileKind::Memfd(memfd) => Some((*id, memfd.segment)),
        _ => None,
    });
    let shared = SharedFiles {
        segments_by_file: segments_by_file.collect(),
        segments: tree.segments.clone(),
    };
    let entry: SeccompEntry = input.first(SECCOMP)?.unwrap_or_default();
    let (filters, synchronised) = seccomp::decode(Place::new(SECCOMP, 1), &entry)?;
    tree.seccomp_filters = filters;
    tree.processes = process::decode_all(input, raws, &shared)?;
    for process in &mut tree.processes {
        if let State::Live { live, .. } = &mut process.state {
            seccomp::spread(live, &synchronised);
        }
    }
    Ok(())
}

/// Removes files that are only there because of how the format writes other things down: paths of
/// FIFOs and terminals, and memfds that stand for mapped plain memory.
fn drop_stand_ins(tree: &mut Tree, embedded: &BTreeSet<FileId>) {
    let used = references(tree);
    let segments = &tree.segments;
    let is_plain = |id: &SegmentId| segments.get(id).is_some_and(|segment| segment.memfd.is_none());
    tree.files.retain(|id, file| {
        let stand_in = match &file.kind {
            FileKind::Path(_) => embedded.contains(id),
            FileKind::Memfd(memfd) => is_plain(&memfd.segment),
            _ => false,
        };
        !stand_in || used.contains(id)
    });
}

/// All files that something in the tree leads to.
fn references(tree: &Tree) -> BTreeSet<FileId> {
    let mut used = BTreeSet::new();
    let tables = tree.tables.values().flat_map(|table| table.descriptors.values());
    used.extend(tables.map(|descriptor| descriptor.file));
    used.extend(tree.packets.iter().flat_map(|packet| &packet.ancillary.files));
    for live in tree.processes.iter().filter_map(|process| process.live()) {
        used.extend([live.fs.cwd, live.fs.root, live.memory.executable]);
        used.extend(live.memory.vmas.iter().filter_map(|vma| file_of(&vma.backing)));
    }
    for file in tree.files.values() {
        if let FileKind::Epoll(epoll) = &file.kind {
            used.extend(epoll.watches.iter().filter_map(|watch| watch.file));
        }
        let path = match &file.kind {
            FileKind::Path(path) => Some(path),
            kind => open_file::embedded_path(kind).map(|(_, path)| path),
        };
        if let Some(Remap::Linked(link)) = path.and_then(|path| path.remap) {
            used.insert(link);
        }
    }
    used
}

fn file_of(backing: &Backing) -> Option<FileId> {
    match backing {
        Backing::FilePrivate { file, .. }
        | Backing::FileShared { file, .. }
        | Backing::MemfdPrivate { file, .. }
        | Backing::MemfdShared { file, .. } => Some(*file),
        Backing::AnonymousPrivate
        | Backing::Heap
        | Backing::Droppable
        | Backing::SegmentShared { .. }
        | Backing::SystemV { .. }
        | Backing::Vdso
        | Backing::Vvar
        | Backing::Vsyscall
        | Backing::AioRing => None,
    }
}

/// Memory whose list of pages is missing would silently come back empty.
fn check_streams(input: Input, tree: &Tree) -> Result<()> {
    let missing = |file, needed_for| Err(Error::Missing { file, needed_for });
    let has_pages = |process: &Process| {
        let file = format!("pagemap-{}.img", process.pid);
        match process.live().is_none() || input.0.has(&file) {
            true => Ok(()),
            false => missing(file, format!("process {} needs it", process.pid)),
        }
    };
    many::map(&tree.processes, has_pages)?;
    for (id, size) in tree.segment_sizes() {
        let file = format!("pagemap-shmem-{id}.img");
        if size > 0 && !input.0.has(&file) {
            return missing(file, format!("shared memory of {size} bytes needs it"));
        }
    }
    Ok(())
}
