//! One member of a stream, as its header and records tell it.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Timespec, Timestamps};
use tar_core::{EntryType, PaxExtensions, SparseEntry, parse::ParsedEntry};

use super::{OPAQUE_RECORD, OWN_XATTR_PREFIX, SOCKET_RECORD, WHITEOUTS_RECORD, XATTR_PREFIX};
use crate::error::{Error, Result};

/// A member, free of the buffer it was parsed from.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub path: PathBuf,
    pub kind: EntryType,
    pub link: Option<PathBuf>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub times: Timestamps,
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub is_socket: bool,
    /// Of a directory: names that it hides of the layers below.
    pub whiteouts: Vec<OsString>,
    /// Of a directory: it hides all of the layers below.
    pub is_opaque: bool,
    pub stored_bytes: u64,
    pub sparse: Option<(Vec<SparseEntry>, u64)>,
}

impl Member {
    pub fn new(entry: &ParsedEntry<'_>, sparse: Option<(Vec<SparseEntry>, u64)>) -> Result<Member> {
        let path = to_path(&entry.path);
        let id = |number: u64| {
            u32::try_from(number).map_err(|_| refused(&path, "its owner is too large"))
        };
        let seconds = i64::try_from(entry.mtime).unwrap_or(0);
        let plain = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut member = Member {
            kind: kind(entry),
            link: entry.link_target.as_ref().map(|link| to_path(link)),
            mode: entry.mode,
            uid: id(entry.uid)?,
            gid: id(entry.gid)?,
            times: Timestamps { last_access: plain, last_modification: plain },
            device: (entry.dev_major.unwrap_or(0), entry.dev_minor.unwrap_or(0)),
            xattrs: Vec::new(),
            is_socket: false,
            whiteouts: Vec::new(),
            is_opaque: false,
            stored_bytes: entry.size,
            sparse,
            path,
        };
        let mut accessed = None;
        for record in entry.pax.map(PaxExtensions::new).into_iter().flatten() {
            let record = record.map_err(garbled)?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let prefixes = [XATTR_PREFIX, OWN_XATTR_PREFIX].map(str::as_bytes);
            if let Some(name) = prefixes.iter().find_map(|prefix| key.strip_prefix(*prefix)) {
                member.xattrs.push((name.to_vec(), value.to_vec()));
            }
            match key {
                b"mtime" => member.times.last_modification = parse_time(value).unwrap_or(plain),
                b"atime" => accessed = parse_time(value),
                _ if key == SOCKET_RECORD.as_bytes() => member.is_socket = true,
                _ if key == OPAQUE_RECORD.as_bytes() => member.is_opaque = true,
                _ if key == WHITEOUTS_RECORD.as_bytes() => {
                    member.whiteouts = whiteouts(&member.path, value)?;
                }
                _ => {}
            }
        }
        member.times.last_access = accessed.unwrap_or(member.times.last_modification);
        member.check_sparse()?;
        Ok(member)
    }

    fn check_sparse(&self) -> Result<()> {
        let Some((map, real_size)) = &self.sparse else { return Ok(()) };
        let mut stored: u64 = 0;
        for extent in map {
            if extent.offset.checked_add(extent.length).is_none_or(|end| end > *real_size) {
                return Err(refused(&self.path, "its data lies behind its end"));
            }
            stored = stored.saturating_add(extent.length);
        }
        if stored == self.stored_bytes {
            return Ok(());
        }
        Err(refused(&self.path, "it has more or less data than its map of holes says"))
    }

    /// The path below the root; empty for the root itself.
    pub fn inner_path(&self) -> Result<PathBuf> {
        inner_path(&self.path)
    }

    /// The file that a hard link is another name of, below the root.
    pub fn hard_link_target(&self) -> Result<PathBuf> {
        let link = self.link.as_ref().ok_or_else(|| refused(&self.path, "it has no target"))?;
        let escapes =
            || refused(&self.path, format!("its target {link:?} leads out of the archive"));
        let target = inner_path(link).map_err(|_| escapes())?;
        if target.file_name().is_none() || target == self.inner_path()? {
            return Err(refused(&self.path, "it is a hard link to itself or to the root"));
        }
        Ok(target)
    }
}

fn whiteouts(path: &Path, value: &[u8]) -> Result<Vec<OsString>> {
    let names = value.strip_suffix(b"/").unwrap_or(value).split(|byte| *byte == b'/');
    let name = |name: &[u8]| match name {
        b"" | b"." | b".." => Err(refused(path, "it hides something that has no name")),
        name => Ok(OsString::from_vec(name.to_vec())),
    };
    names.map(name).collect()
}

/// Before there was a type for directories, they had a slash at the end.
fn kind(entry: &ParsedEntry<'_>) -> EntryType {
    match entry.entry_type {
        EntryType::Regular if entry.path.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    }
}

fn inner_path(path: &Path) -> Result<PathBuf> {
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => inner.push(part),
            Component::ParentDir => return Err(refused(path, "its name has a ..")),
            _ => return Err(refused(path, "its name is absolute")),
        }
    }
    Ok(inner)
}

pub(super) fn refused(path: &Path, reason: impl ToString) -> Error {
    Error::Archive { member: path.display().to_string(), reason: reason.to_string() }
}

pub(super) fn garbled(reason: impl ToString) -> Error {
    refused(Path::new("the archive itself"), reason)
}

fn to_path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// `-1.25` is a second and a quarter before 1970.
fn parse_time(text: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970() {
        let time = |text: &str| {
            let time = parse_time(text.as_bytes()).unwrap();
            (time.tv_sec, time.tv_nsec)
        };
        assert_eq!(time("5.000000007"), (5, 7));
        assert_eq!(time("-0.5"), (-1, 500_000_000));
        assert_eq!(time("-2"), (-2, 0));
        assert!(parse_time(b"x").is_none());
    }
}
