//! Files without their name.

use std::collections::BTreeMap;

use stasis_model::{
    FileId, FileKind, GhostContent, GhostFile, GhostId, NsPid, PathFile, Remap, Tree,
};

use super::{
    open_file::{Numbers, embedded_path},
    path_file::{path, path_bytes},
    source::{Input, Output},
};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        framing::{MAX_RECORD, Records},
        magic::format_of,
        remap::{GhostFileEntry, RemapFilePathEntry, Timeval},
    },
};

const LINKED: u32 = 0;
const GHOST: u32 = 1;
const PROCFS: u32 = 2;

/// Old checkpoints have no type; this bit then tells ghosts from links.
const OLD_GHOST_BIT: u32 = 1 << 31;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

pub(super) fn encode(tree: &Tree, numbers: &Numbers, out: &mut Output) -> Result<()> {
    let mut entries = Vec::new();
    for (id, file) in &tree.files {
        if let FileKind::Path(path) = &file.kind {
            entries.extend(encode_remap(*id, path)?);
        } else if let Some((_, path)) = embedded_path(&file.kind) {
            entries.extend(encode_remap(numbers.paths[id], path)?);
        }
    }
    out.all("remap-fpath.img", &entries);
    Ok(())
}

fn encode_remap(id: FileId, path: &PathFile) -> Result<Option<RemapFilePathEntry>> {
    let (remap_type, remap_id) = match path.remap {
        None => return Ok(None),
        Some(Remap::Ghost(ghost)) => (GHOST, ghost.0),
        Some(Remap::Linked(file)) => (LINKED, file.0),
        Some(Remap::DeadProcess(pid)) => {
            let number = u32::try_from(pid.0);
            let refuse = |_| Error::unwritable(format!("process {pid}"), "its id is negative");
            (PROCFS, number.map_err(refuse)?)
        }
    };
    Ok(Some(RemapFilePathEntry { orig_id: id.0, remap_id, remap_type: Some(remap_type) }))
}

pub(super) fn decode(input: Input) -> Result<BTreeMap<FileId, Remap>> {
    let entries: Vec<RemapFilePathEntry> = input.all("remap-fpath.img")?;
    let mut remaps = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let remap = decode_remap(Place::new("remap-fpath.img", index + 1), entry)?;
        remaps.insert(FileId(entry.orig_id), remap);
    }
    Ok(remaps)
}

fn decode_remap(place: Place, entry: &RemapFilePathEntry) -> Result<Remap> {
    match entry.remap_type {
        Some(GHOST) => Ok(Remap::Ghost(GhostId(entry.remap_id))),
        Some(LINKED) => Ok(Remap::Linked(FileId(entry.remap_id))),
        Some(PROCFS) => match i32::try_from(entry.remap_id) {
            Ok(pid) => Ok(Remap::DeadProcess(NsPid(pid))),
            Err(_) => Err(place.field("remap_id", "is no process id")),
        },
        Some(other) => Err(place.field("remap_type", format!("{other} is not known"))),
        None if entry.remap_id & OLD_GHOST_BIT != 0 => {
            Ok(Remap::Ghost(GhostId(entry.remap_id & !OLD_GHOST_BIT)))
        }
        None => Ok(Remap::Linked(FileId(entry.remap_id))),
    }
}

/// Name of the file with a ghost's content.
pub(crate) fn ghost_file(id: GhostId) -> String {
    format!("ghost-file-{:x}.img", id.0)
}

/// The record at the beginning of a ghost's file.
pub(crate) fn ghost_entry(ghost: &GhostFile) -> GhostFileEntry {
    let time = |micros: u64| Timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 };
    let (size, target) = match &ghost.content {
        GhostContent::None => (None, None),
        GhostContent::Symlink(target) => (None, Some(path_bytes(target))),
        GhostContent::Regular { size } => (Some(*size), None),
    };
    GhostFileEntry {
        uid: ghost.uid,
        gid: ghost.gid,
        mode: ghost.mode,
        dev: ghost.origin.map(|(device, _)| device),
        ino: ghost.origin.map(|(_, inode)| inode),
        rdev: ghost.rdev,
        atim: ghost.times.map(|(access, _)| time(access)),
        mtim: ghost.times.map(|(_, modification)| time(modification)),
        chunks: size.map(|_| true),
        size,
        symlnk_target: target,
    }
}

/// Decodes all ghosts that remaps name.
pub(super) fn decode_ghosts(
    input: Input,
    remaps: &BTreeMap<FileId, Remap>,
) -> Result<BTreeMap<GhostId, GhostFile>> {
    let mut ghosts = BTreeMap::new();
    for remap in remaps.values() {
        if let Remap::Ghost(id) = remap
            && !ghosts.contains_key(id)
        {
            ghosts.insert(*id, decode_ghost(input, *id)?);
        }
    }
    Ok(ghosts)
}

fn decode_ghost(input: Input, id: GhostId) -> Result<GhostFile> {
    let name = ghost_file(id);
    let Some(head) = input.0.head(&name, MAX_HEAD)? else {
        return Err(Error::Missing { file: name, needed_for: "an open file needs it".into() });
    };
    let format = format_of(&name).expect("ghosts have a format");
    let mut records = Records::open(&name, format, &head)?;
    let entry: GhostFileEntry = records.single()?;
    // Where the content is all the rest of the file, its length tells the size.
    let rest =
        || input.0.len(&name).map(|len| len.unwrap_or(0).saturating_sub(records.position() as u64));
    let place = Place::new(&name, 1);
    let content = match entry.mode & S_IFMT {
        S_IFREG if entry.chunks == Some(true) => {
            GhostContent::Regular { size: place.need(entry.size, "size")? }
        }
        S_IFREG => GhostContent::Regular { size: entry.size.map_or_else(rest, Ok)? },
        S_IFLNK => {
            let target = place.need(entry.symlnk_target.as_ref(), "symlnk_target")?;
            GhostContent::Symlink(path(target))
        }
        _ => GhostContent::None,
    };
    Ok(GhostFile {
        uid: entry.uid,
        gid: entry.gid,
        mode: entry.mode,
        rdev: entry.rdev,
        origin: entry.dev.zip(entry.ino),
        times: entry.atim.as_ref().map(micros).zip(entry.mtim.as_ref().map(micros)),
        content,
    })
}

/// A ghost's first record is at most this long, bytes: the longest thing in it is a path.
const MAX_HEAD: usize = 64 << 10;
const _: () = assert!(MAX_HEAD < MAX_RECORD);

fn micros(time: &Timeval) -> u64 {
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_usec)
}
