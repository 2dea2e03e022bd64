//! Which namespaces a tree has to itself, and what is to be known of them.

use std::path::Path;

use stasis_model::{Mount, NamespaceKind, Namespaces, Obstacle, Subject, Tree, UtsNames};
use stasis_tracee::{Batch, Blank, ProcDir};

use crate::{
    facade::{Error, Externals},
    visit::{self, Place},
};

/// The namespaces that the root does not have in common with us.
pub fn own(root: &ProcDir) -> Vec<NamespaceKind> {
    let is_own = |kind: &NamespaceKind| {
        let ours = std::fs::read_link(Path::new("/proc/self/ns").join(kind.proc_name())).ok();
        link(root, *kind).is_some_and(|of_root| Some(of_root) != ours)
    };
    NamespaceKind::ALL.into_iter().filter(is_own).collect()
}

/// Those whose namespaces are not the root's, as they must be.
pub fn apart(root: &ProcDir, others: &[&ProcDir]) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for kind in NamespaceKind::ALL {
        let Some(of_root) = link(root, kind) else { continue };
        for other in others {
            if link(other, kind).is_some_and(|of_other| of_other != of_root) {
                obstacles.push(nested(other, kind));
            }
        }
    }
    obstacles
}

/// Kinds that the engine makes itself for a tree that is restored without a container.
const MADE_HERE: [NamespaceKind; 2] = [NamespaceKind::Ipc, NamespaceKind::Uts];

/// The root's own namespaces that nobody would make again at a restore.
pub fn obstacles(root: &ProcDir, own: &[NamespaceKind], externals: &Externals) -> Vec<Obstacle> {
    let is_made =
        |kind: &NamespaceKind| MADE_HERE.contains(kind) || externals.namespaces.contains(kind);
    own.iter().filter(|kind| !is_made(kind)).map(|kind| lonely(task(root), *kind)).collect()
}

/// Processes outside the tree that live in a namespace of it which the engine would make again: the
/// tree would be parted from them in silence.
pub fn strangers(tree: &[ProcDir], own: &[NamespaceKind], externals: &Externals) -> Vec<Obstacle> {
    let root = &tree[0];
    let is_made_here =
        |kind: &&NamespaceKind| MADE_HERE.contains(kind) && !externals.namespaces.contains(kind);
    let remade: Vec<_> = own
        .iter()
        .filter(is_made_here)
        .filter_map(|kind| Some((*kind, link(root, *kind)?)))
        .collect();
    if remade.is_empty() {
        return Vec::new();
    }
    let stranger = |pid| {
        let proc = ProcDir::open(pid).ok()?;
        let is_in =
            |(kind, place): &&(NamespaceKind, _)| link(&proc, *kind).as_ref() == Some(place);
        let (kind, _) = remade.iter().find(is_in)?;
        let reason = format!(
            "is in the {} namespace of the tree, but not in the tree, which alone gets it again",
            kind.proc_name()
        );
        let hint = Some("end it, or run the tree as a container");
        (!descends(&proc, root.pid())).then(|| Obstacle::lasting(task(&proc), reason, hint))
    };
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stranger).collect()
}

/// Whether a process is in the tree below `root`; one that has ended is no stranger to it.
fn descends(proc: &ProcDir, root: i32) -> bool {
    let mut pid = proc.pid();
    while pid > 1 && pid != root {
        match ProcDir::open(pid).and_then(|proc| proc.stat()) {
            Ok(stat) => pid = stat.parent,
            Err(_) => return true,
        }
    }
    pid == root
}

/// The tree's own namespaces that a restore without a container does not make.
pub fn obstacles_to_restore(tree: &Tree) -> Vec<Obstacle> {
    let kinds = tree.namespaces.own.iter().filter(|kind| !MADE_HERE.contains(kind));
    kinds.map(|kind| lonely(Subject::Tree, *kind)).collect()
}

fn lonely(subject: Subject, kind: NamespaceKind) -> Obstacle {
    let kind = kind.proc_name();
    let reason = format!("has a {kind} namespace of its own, which only a container gets again");
    Obstacle::lasting(subject, reason, Some("run it as a container"))
}

/// Makes the namespaces of a tree that is restored without a container; its first blank enters them.
pub fn thaw(tree: &Tree, root: &mut Blank) -> Result<(), Error> {
    const SETHOSTNAME: i64 = 170;
    const SETDOMAINNAME: i64 = 171;
    const UNSHARE: i64 = 272;
    const CLONE_NEWUTS: u32 = 0x400_0000;
    const CLONE_NEWIPC: u32 = 0x800_0000;
    let mut batch = Batch::new();
    if tree.namespaces.owns(NamespaceKind::Ipc) {
        batch.call("unshare(CLONE_NEWIPC)", UNSHARE, [CLONE_NEWIPC.into()]);
    }
    if tree.namespaces.owns(NamespaceKind::Uts) {
        batch.call("unshare(CLONE_NEWUTS)", UNSHARE, [CLONE_NEWUTS.into()]);
    }
    if let Some(names) = &tree.namespaces.uts {
        for (call, number, name) in [
            ("sethostname", SETHOSTNAME, &names.node),
            ("setdomainname", SETDOMAINNAME, &names.domain),
        ] {
            let len = name.len();
            let name = batch.bytes(name);
            batch.call(call, number, [name.into(), len.into()]);
        }
    }
    if !batch.is_empty() {
        root.run(&batch)?;
    }
    Ok(())
}

fn link(proc: &ProcDir, kind: NamespaceKind) -> Option<std::path::PathBuf> {
    proc.read_link(format!("ns/{}", kind.proc_name())).ok()
}

fn nested(proc: &ProcDir, kind: NamespaceKind) -> Obstacle {
    let kind = kind.proc_name();
    let reason = format!("is in another {kind} namespace than the root of the tree");
    Obstacle::lasting(task(proc), reason, None)
}

fn task(proc: &ProcDir) -> Subject {
    let name = proc.stat().map(|stat| String::from_utf8_lossy(&stat.name).into_owned());
    Subject::Task { pid: proc.pid(), name: name.unwrap_or_default() }
}

/// Reads what is needed to describe the root's own namespaces.
pub fn freeze(
    root: &ProcDir,
    own: Vec<NamespaceKind>,
    external_mounts: &[std::path::PathBuf],
) -> Result<Namespaces, Error> {
    let mut namespaces = Namespaces { own, ..Namespaces::default() };
    if namespaces.owns(NamespaceKind::Uts) {
        namespaces.uts = Some(uts_names(root.pid())?);
    }
    if namespaces.owns(NamespaceKind::Mount) {
        let mounts = root
            .parse("mountinfo", stasis_proctext::mountinfo::parse)
            .map_err(stasis_objects::Error::from)?;
        namespaces.mounts =
            mounts.iter().map(|mount| freeze_mount(mount, external_mounts)).collect();
    }
    Ok(namespaces)
}

fn uts_names(pid: i32) -> Result<UtsNames, Error> {
    visit::inside(pid, Place::Uts, || {
        let names = rustix::system::uname();
        Ok(UtsNames {
            node: names.nodename().to_bytes().to_vec(),
            domain: names.domainname().to_bytes().to_vec(),
        })
    })
}

fn freeze_mount(
    mount: &stasis_proctext::mountinfo::Mount,
    external: &[std::path::PathBuf],
) -> Mount {
    use std::os::unix::ffi::OsStrExt;
    let is_external = external.iter().any(|path| path.as_os_str().as_bytes() == mount.mountpoint);
    Mount {
        id: mount.id,
        parent: mount.parent,
        device: mount.device.0 << 20 | mount.device.1,
        root: mount.root.clone(),
        mountpoint: mount.mountpoint.clone(),
        filesystem: mount.filesystem.clone(),
        source: mount.source.clone(),
        flags: flags(&mount.options),
        superblock_flags: flags(&mount.superblock_options),
        options: mount
            .superblock_options
            .iter()
            .filter(|option| flag(option).is_none() && option.as_slice() != b"rw")
            .cloned()
            .collect::<Vec<_>>()
            .join(&b','),
        peer_group: mount.shared,
        master_group: mount.master,
        external: is_external.then(|| mount.mountpoint.clone()),
        tmpfs: None,
    }
}

fn flags(options: &[Vec<u8>]) -> u32 {
    options.iter().filter_map(|option| flag(option)).fold(0, |all, flag| all | flag)
}

fn flag(option: &[u8]) -> Option<u32> {
    Some(match option {
        b"ro" => 1,
        b"nosuid" => 2,
        b"nodev" => 4,
        b"noexec" => 8,
        b"sync" => 16,
        b"noatime" => 0x400,
        b"nodiratime" => 0x800,
        b"relatime" => 0x20_0000,
        _ => return None,
    })
}
