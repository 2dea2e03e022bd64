//! Checkpoints of CRIU as trees, and trees as checkpoints.
#![allow(clippy::unwrap_used)]

mod checkpoints;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};

use checkpoints::{data, kitchen};
use stasis_files::{Facts, PageOwner, Reader, Result, Writer};
use stasis_model::{
    FileKind, GhostContent, NamespaceKind, SeccompMode, SocketId, TcpConnection, Tree,
};

/// Writes what was read, streams included.
fn write_again(reader: &Reader, tree: &Tree, facts: &Facts) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(dir.path())?;
    for owner in owners(tree) {
        let from = reader.pages(owner)?.expect("a list of pages");
        let mut to = writer.pages(owner)?;
        for stored in from.runs() {
            let mut bytes = vec![0; stored.run.len_bytes() as usize];
            from.file(stored).read_exact_at(&mut bytes, stored.offset).unwrap();
            to.file().write_all(&bytes).unwrap();
            to.record(stored.run, false)?;
        }
        to.finish()?;
    }
    for (id, ghost) in &tree.ghosts {
        if !matches!(ghost.content, GhostContent::Regular { .. }) {
            continue;
        }
        let from = reader.ghost(*id)?;
        let mut to = writer.ghost(*id, ghost)?;
        for chunk in from.chunks() {
            let mut bytes = vec![0; chunk.len as usize];
            from.file().read_exact_at(&mut bytes, chunk.file_offset).unwrap();
            to.chunk(chunk.offset, &mut bytes.as_slice(), chunk.len)?;
        }
    }
    for (socket, connection) in connections(tree) {
        let (received, outgoing) = queues(reader, socket);
        writer.tcp_stream(socket, &connection, (&received, &outgoing))?;
    }
    for tmpfs in tree.namespaces.mounts.iter().filter_map(|mount| mount.tmpfs) {
        let mut bytes = Vec::new();
        reader.tmpfs(tmpfs.device)?.read_to_end(&mut bytes).unwrap();
        writer.tmpfs(tmpfs.device)?.write_all(&bytes).unwrap();
    }
    writer.write_tree(tree, facts)?;
    writer.finish(tree)?;
    Ok(dir)
}

fn owners(tree: &Tree) -> Vec<PageOwner> {
    let live = tree.processes.iter().filter(|process| process.live().is_some());
    let segments = tree.segment_sizes().map(|(id, _)| PageOwner::Segment(id));
    live.map(|process| PageOwner::Process(process.pid)).chain(segments).collect()
}

fn connections(tree: &Tree) -> Vec<(SocketId, TcpConnection)> {
    let sockets = tree.files.values().filter_map(|file| match &file.kind {
        FileKind::Inet(socket) => Some((socket.socket, socket.connection?)),
        _ => None,
    });
    sockets.collect()
}

/// What is in the receive queue and in the send queue of a connection.
fn queues(reader: &Reader, socket: SocketId) -> (Vec<u8>, Vec<u8>) {
    let stored = reader.tcp_stream(socket).unwrap();
    let queues = stored.queues();
    let mut received = vec![0; queues.received_bytes as usize];
    let mut outgoing = vec![0; queues.outgoing_bytes as usize];
    stored.file().read_exact_at(&mut received, queues.start).unwrap();
    let after = queues.start + u64::from(queues.received_bytes);
    stored.file().read_exact_at(&mut outgoing, after).unwrap();
    (received, outgoing)
}

/// All stored pages of all owners: where they belong, and their bytes.
fn contents(reader: &Reader, tree: &Tree) -> Vec<(PageOwner, u64, Vec<u8>)> {
    let mut all = Vec::new();
    for owner in owners(tree) {
        let pages = reader.pages(owner).unwrap().unwrap();
        for stored in pages.runs() {
            for page in 0..stored.run.nr_pages {
                let mut bytes = vec![0; 4096];
                let offset = page * 4096;
                pages.file(stored).read_exact_at(&mut bytes, stored.offset + offset).unwrap();
                all.push((owner, stored.run.start + offset, bytes));
            }
        }
    }
    all
}

fn check_round_trip(dir: &Path) -> Tree {
    let reader = Reader::open(dir).unwrap();
    let (tree, facts) = (reader.tree().unwrap(), reader.facts().unwrap());
    tree.validate().unwrap();
    let written = write_again(&reader, &tree, &facts).unwrap();
    let again = Reader::open(written.path()).unwrap();
    assert_eq!(again.tree().unwrap(), tree, "{}", dir.display());
    assert_eq!(again.facts().unwrap(), facts);
    assert!(contents(&again, &tree) == contents(&reader, &tree), "{}", dir.display());
    for file in fs::read_dir(written.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    tree
}

#[test]
fn a_shell_and_its_child() {
    let tree = check_round_trip(&data("busybox-counter"));
    assert_eq!(tree.processes.len(), 2);
    assert_eq!(tree.root().name, b"busybox");
}

#[test]
fn pipes_sockets_threads_and_a_ghost() {
    let tree = check_round_trip(&data("demo"));
    assert_eq!(tree.nr_threads(), 3);
    assert_eq!(tree.ghosts.len(), 1);
    let pipe = tree.pipes.values().next().unwrap();
    assert_eq!(pipe.data, b"hello through pipe");
    assert_eq!(tree.packets[0].data, b"hello through socket");
}

#[test]
fn shared_memory_is_a_segment_without_an_open_file() {
    let tree = check_round_trip(&data("shared-memory"));
    let (_, segment) = tree.segments.first_key_value().unwrap();
    assert_eq!((segment.size, &segment.memfd), (65536, &None));
    assert!(tree.files.values().all(|file| !matches!(file.kind, stasis_model::FileKind::Memfd(_))));
}

#[test]
fn nearly_every_kind_of_file() {
    let tree = check_round_trip(kitchen().path());
    let zombie = tree.processes.iter().find(|process| process.live().is_none()).unwrap();
    assert!(matches!(zombie.state, stasis_model::State::Zombie { wait_status: 768 }));
    assert_eq!(tree.locks.len(), 3);
    assert_eq!(tree.terminals.len(), 2);
    let jailed = tree.processes.iter().find(|process| process.name == b"jailed").unwrap();
    let seccomp = jailed.live().unwrap().leader().seccomp;
    assert_eq!(seccomp, SeccompMode::Filter { oldest: 1 });
    assert_eq!(tree.seccomp_filters[1].next_newer, Some(0));
    assert_eq!(tree.root().live().unwrap().memory.guards.len(), 1);
}

#[test]
fn connections_are_written_as_they_were_read() {
    let (original, names) = (data("kitchen"), ["tcp-stream-4debf5.img", "tcp-stream-4debf6.img"]);
    let dir = kitchen();
    let reader = Reader::open(dir.path()).unwrap();
    let (tree, facts) = (reader.tree().unwrap(), reader.facts().unwrap());
    let found = connections(&tree);
    assert_eq!(found.len(), 2);
    let read: Vec<Vec<u8>> = found.iter().map(|(socket, _)| queues(&reader, *socket).0).collect();
    assert!(read.contains(&b"tcp-payload".to_vec()), "{read:?}");
    let written = write_again(&reader, &tree, &facts).unwrap();
    for name in names {
        let (before, after) = (fs::read(original.join(name)), fs::read(written.path().join(name)));
        assert_eq!(before.unwrap(), after.unwrap(), "{name}");
    }
}

#[test]
fn a_container_of_podman() {
    use NamespaceKind::{Ipc, Mount, Net, Pid, Uts};
    let tree = check_round_trip(&data("podman-counter"));
    assert_eq!(tree.namespaces.own, [Pid, Net, Ipc, Uts, Mount]);
    assert_eq!(tree.namespaces.uts.as_ref().unwrap().node, b"c3becfd6fa0f");
    let root = &tree.namespaces.mounts[0];
    assert_eq!(
        (root.mountpoint.as_slice(), root.filesystem.as_slice()),
        (&b"/"[..], &b"overlay"[..])
    );
    let hosts = tree.namespaces.mounts.iter().find(|mount| mount.mountpoint == b"/etc/hosts");
    assert_eq!(hosts.unwrap().external.as_deref(), Some(&b"/etc/hosts"[..]));
    assert_eq!(tree.namespaces.cgroups.len(), 1);
    assert!(Reader::open(&data("podman-counter")).unwrap().stats().unwrap().is_some());
}

#[test]
fn what_cannot_be_restored_is_named() {
    let error = Reader::open(&data("kitchen")).unwrap().tree().unwrap_err();
    let expect = "netlink socket (process 24096, descriptor 32)";
    assert!(error.to_string().starts_with(expect), "{error}");
}
