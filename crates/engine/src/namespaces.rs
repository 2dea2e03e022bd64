//! Which namespaces a tree has to itself, and what is to be known of them.

use std::path::Path;

use stasis_model::{Mount, NamespaceKind, Namespaces, Obstacle, Subject, UtsNames};
use stasis_tracee::{Batch, Patient, ProcDir};

use crate::facade::Error;

/// Looks at the namespaces of the root and at those of everybody else, which must be the same.
pub fn survey(
    root: &ProcDir,
    others: &[&ProcDir],
) -> Result<(Vec<NamespaceKind>, Vec<Obstacle>), Error> {
    let mut own = Vec::new();
    let mut obstacles = Vec::new();
    for kind in NamespaceKind::ALL {
        let Some(of_root) = link(root, kind) else { continue };
        let ours = std::fs::read_link(Path::new("/proc/self/ns").join(kind.proc_name())).ok();
        if Some(&of_root) != ours.as_ref() {
            own.push(kind);
        }
        for other in others {
            if link(other, kind).is_some_and(|of_other| of_other != of_root) {
                obstacles.push(nested(other, kind));
            }
        }
    }
    Ok((own, obstacles))
}

fn link(proc: &ProcDir, kind: NamespaceKind) -> Option<std::path::PathBuf> {
    proc.read_link(format!("ns/{}", kind.proc_name())).ok()
}

fn nested(proc: &ProcDir, kind: NamespaceKind) -> Obstacle {
    let name = proc.stat().map(|stat| String::from_utf8_lossy(&stat.name).into_owned());
    let subject = Subject::Task { pid: proc.pid(), name: name.unwrap_or_default() };
    let kind = kind.proc_name();
    let reason = format!("is in another {kind} namespace than the root of the tree");
    Obstacle::lasting(subject, reason, None)
}

/// Reads what is needed to describe the root's own namespaces.
pub fn freeze(
    root: &mut Patient,
    own: Vec<NamespaceKind>,
    external_mounts: &[std::path::PathBuf],
) -> Result<Namespaces, Error> {
    let mut namespaces = Namespaces { own, ..Namespaces::default() };
    if namespaces.owns(NamespaceKind::Uts) {
        namespaces.uts = Some(uts_names(root)?);
    }
    if namespaces.owns(NamespaceKind::Mount) {
        let mounts = root
            .proc()
            .parse("mountinfo", stasis_proctext::mountinfo::parse)
            .map_err(stasis_objects::Error::from)?;
        namespaces.mounts =
            mounts.iter().map(|mount| freeze_mount(mount, external_mounts)).collect();
    }
    Ok(namespaces)
}

fn uts_names(root: &mut Patient) -> Result<UtsNames, Error> {
    const UNAME: i64 = 63;
    const FIELD: usize = 65;
    let mut batch = Batch::new();
    let names = batch.space(FIELD * 6);
    batch.call("uname", UNAME, [names.into()]);
    let outcome = root.run_in_leader(&batch)?;
    outcome.check()?;
    let field = |index: usize| {
        let bytes = &outcome.data(names)[index * FIELD..(index + 1) * FIELD];
        bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    };
    Ok(UtsNames { node: field(1), domain: field(5) })
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
