//! Mounts of the tree's own mount namespace.

use stasis_model::{Mount, Tmpfs};

use super::source::{Input, Output};
use crate::{Error, Result, error::Place, wire::mnt::MntEntry};

const UNSUPPORTED: u32 = 0;
const DEVTMPFS: u32 = 3;
const TMPFS: u32 = 5;
const AUTO: u32 = 16;

/// File systems that have a number; all others are `AUTO` with their name.
const FILESYSTEMS: &[(u32, &[u8])] = &[
    (1, b"proc"),
    (2, b"sysfs"),
    (DEVTMPFS, b"devtmpfs"),
    (4, b"binfmt_misc"),
    (TMPFS, b"tmpfs"),
    (6, b"devpts"),
    (7, b"simfs"),
    (8, b"pstore"),
    (9, b"securityfs"),
    (10, b"fusectl"),
    (11, b"debugfs"),
    (12, b"cgroup"),
    (13, b"aufs"),
    (14, b"mqueue"),
    (15, b"fuse"),
    (17, b"overlay"),
    (18, b"autofs"),
    (19, b"tracefs"),
    (23, b"cgroup2"),
];

/// Encodes the mounts; `id` is the number of the namespace.
pub(super) fn encode(mounts: &[Mount], id: u32, out: &mut Output) -> Result<()> {
    // Children first, as CRIU does.
    let entries: Vec<MntEntry> = mounts.iter().rev().map(encode_mount).collect::<Result<_>>()?;
    if entries.is_empty() {
        return Err(Error::unwritable("the mount namespace", "its mounts are not known"));
    }
    out.all(format!("mountpoints-{id}.img"), &entries);
    Ok(())
}

pub(super) fn decode(input: Input, id: u32) -> Result<Vec<Mount>> {
    let name = format!("mountpoints-{id}.img");
    let entries: Vec<MntEntry> = input.all(&name)?;
    if entries.is_empty() {
        let needed_for = "the tree has a mount namespace of its own".into();
        return Err(Error::Missing { file: name, needed_for });
    }
    let numbered = entries.iter().enumerate().rev();
    numbered
        .map(|(index, entry)| decode_mount(input, Place::new(&name, index + 1), entry))
        .collect()
}

/// Name of the file that holds the content of a tmpfs.
pub(crate) fn tmpfs_file(device: u32) -> String {
    format!("tmpfs-dev-{device}.tar.gz.img")
}

fn encode_mount(mount: &Mount) -> Result<MntEntry> {
    let id = |id: i32| {
        u32::try_from(id).map_err(|_| {
            let object = format!("mount {}", String::from_utf8_lossy(&mount.mountpoint));
            Error::unwritable(object, format!("its id or its parent's id is {id}"))
        })
    };
    let (fstype, fsname) = encode_filesystem(mount);
    Ok(MntEntry {
        fstype,
        mnt_id: id(mount.id)?,
        root_dev: mount.device,
        parent_mnt_id: id(mount.parent)?,
        flags: mount.flags,
        root: mount.root.clone(),
        mountpoint: mount.mountpoint.clone(),
        source: mount.source.clone(),
        options: mount.options.clone(),
        shared_id: Some(mount.peer_group.unwrap_or(0)),
        master_id: Some(mount.master_group.unwrap_or(0)),
        fsname,
        sb_flags: Some(mount.superblock_flags),
        ext_key: mount.external.clone(),
        ..Default::default()
    })
}

fn encode_filesystem(mount: &Mount) -> (u32, Option<Vec<u8>>) {
    let known = FILESYSTEMS.iter().find(|(_, name)| *name == mount.filesystem.as_slice());
    match known {
        Some((number, _)) => (*number, None),
        None if mount.filesystem.is_empty() => (UNSUPPORTED, None),
        None => (AUTO, Some(mount.filesystem.clone())),
    }
}

fn decode_mount(input: Input, place: Place, entry: &MntEntry) -> Result<Mount> {
    refuse_special(entry)?;
    let id = |field, id: u32| {
        i32::try_from(id).map_err(|_| place.field(field, format!("{id} is no mount id")))
    };
    Ok(Mount {
        id: id("mnt_id", entry.mnt_id)?,
        parent: id("parent_mnt_id", entry.parent_mnt_id)?,
        device: entry.root_dev,
        root: entry.root.clone(),
        mountpoint: entry.mountpoint.clone(),
        filesystem: decode_filesystem(place, entry)?,
        source: entry.source.clone(),
        flags: entry.flags,
        superblock_flags: entry.sb_flags.unwrap_or(0),
        options: entry.options.clone(),
        peer_group: entry.shared_id.filter(|id| *id != 0),
        master_group: entry.master_id.filter(|id| *id != 0),
        external: decode_external(entry),
        tmpfs: decode_tmpfs(input, entry),
    })
}

fn refuse_special(entry: &MntEntry) -> Result<()> {
    let object = || format!("mount {}", String::from_utf8_lossy(&entry.mountpoint));
    if entry.with_plugin == Some(true) {
        return Err(Error::unsupported(object(), "it was handled by a plugin of CRIU"));
    }
    if entry.deleted == Some(true) {
        return Err(Error::unsupported(object(), "what it was bound from has been deleted"));
    }
    Ok(())
}

/// External mounts of file systems that CRIU does not know have no name.
fn decode_filesystem(place: Place, entry: &MntEntry) -> Result<Vec<u8>> {
    if entry.fstype == AUTO {
        return place.need(entry.fsname.clone(), "fsname");
    }
    if entry.fstype == UNSUPPORTED {
        return Ok(Vec::new());
    }
    let known = FILESYSTEMS.iter().find(|(number, _)| *number == entry.fstype);
    let known =
        known.ok_or_else(|| place.field("fstype", format!("{} is not known", entry.fstype)));
    Ok(known?.1.to_vec())
}

/// Old checkpoints only say that a mount is external; its key is then where it is mounted.
fn decode_external(entry: &MntEntry) -> Option<Vec<u8>> {
    let old = entry.ext_mount == Some(true);
    entry.ext_key.clone().or_else(|| old.then(|| entry.mountpoint.clone()))
}

fn decode_tmpfs(input: Input, entry: &MntEntry) -> Option<Tmpfs> {
    let whole = matches!(entry.fstype, TMPFS | DEVTMPFS) && entry.root == b"/";
    let stored =
        whole && decode_external(entry).is_none() && input.0.has(&tmpfs_file(entry.root_dev));
    stored.then_some(Tmpfs { device: entry.root_dev })
}
