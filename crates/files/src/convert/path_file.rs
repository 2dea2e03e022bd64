//! Files with a path.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use stasis_model::{FileId, PathFile, Remap};

use super::owner;
use crate::{
    Error, Result,
    error::Place,
    wire::{fown::FownEntry, regfile::RegFileEntry},
};

/// The position of a file that is not to be seeked.
const NO_SEEK: u64 = u64::MAX;

/// The mount of a file that is looked up from the root.
const NO_MOUNT: i32 = -1;

pub(super) fn encode(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    file: &PathFile,
) -> Result<RegFileEntry> {
    if !file.path.is_absolute() {
        return Err(Error::unwritable(file.path.display().to_string(), "the path is relative"));
    }
    Ok(RegFileEntry {
        id: id.0,
        flags,
        pos: file.position.unwrap_or(NO_SEEK),
        fown,
        name: path_bytes(&file.path),
        mnt_id: file.mount,
        size: file.size,
        mode: file.mode,
        build_id: file.build_id.clone(),
        ..Default::default()
    })
}

/// A record of a path: the file, its flags and its owner.
pub(super) struct Reg {
    pub flags: u32,
    pub fown: FownEntry,
    pub file: PathFile,
}

pub(super) fn decode(place: Place, entry: &RegFileEntry, remap: Option<Remap>) -> Result<Reg> {
    if entry.ext == Some(true) {
        let object = format!("file {}", String::from_utf8_lossy(&entry.name));
        return Err(Error::unsupported(object, "it was handled by a plugin of CRIU"));
    }
    if entry.name.first() != Some(&b'/') {
        return Err(place.field("name", "is no absolute path"));
    }
    let file = PathFile {
        path: path(&entry.name),
        position: Some(entry.pos).filter(|position| *position != NO_SEEK),
        size: entry.size,
        mode: entry.mode,
        build_id: entry.build_id.clone(),
        mount: entry.mnt_id.filter(|mount| *mount != NO_MOUNT),
        remap,
    };
    owner::check(place, &entry.fown)?;
    Ok(Reg { flags: entry.flags, fown: entry.fown.clone(), file })
}

pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

pub(super) fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
