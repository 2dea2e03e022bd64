//! From a directory to the stream.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, readlinkat, statat},
    io::Errno,
};
use tar_core::{EntryType, SparseEntry, builder::EntryBuilder};

use super::{
    END_OF_ARCHIVE, Form, OPAQUE_ATTRIBUTE, OPAQUE_MEMBER, OPAQUE_RECORD, OVERLAY_PREFIX,
    OWN_XATTR_PREFIX, SOCKET_RECORD, WHITEOUT_PREFIX, WHITEOUTS_RECORD, XATTR_PREFIX,
    beneath::own_path, member::refused, padding,
};
use crate::error::{Context, Result};

/// A tar header holds sizes below this; larger ones go to a record, which holes do not mix with.
const MAX_HEADER_SIZE: u64 = 0o77_777_777_777;
const BUFFER_BYTES: usize = 1 << 20;

/// Writes everything below `dir` to `out`, in the given form, and in [`Form::Exact`] the attributes of
/// `dir` itself. Names are sorted, so the same tree gives the same stream.
///
/// Nobody may change the tree meanwhile. Symbolic links are not followed.
///
/// # Errors
/// [`Error::Refused`] naming the file that could not be read, or the stream. [`Error::Archive`] for
/// what the form cannot say.
pub fn pack(dir: &Path, form: Form, out: &mut dyn Write) -> Result<()> {
    let root = File::open(dir).context("open", dir.display())?.into();
    let mut packer = Packer::new(out, form, &[]);
    match form {
        Form::Exact | Form::Changes => packer.directory(&root, Path::new("."))?,
        Form::Layer | Form::Plain => packer.below(&root, Path::new(""))?,
    }
    packer.end()
}

/// Writes the upper directory of an overlay in the form [`Form::Changes`], and tells which paths it
/// hides of the lower directories `below`, relative to the root and in order.
///
/// # Errors
/// As [`pack`].
pub fn pack_changes(dir: &Path, below: &[PathBuf], out: &mut dyn Write) -> Result<Vec<PathBuf>> {
    let root = File::open(dir).context("open", dir.display())?.into();
    let mut packer = Packer::new(out, Form::Changes, below);
    packer.directory(&root, Path::new("."))?;
    packer.end()?;
    Ok(packer.hidden.into_iter().collect())
}

/// Writes one member of the directory `parent`, with everything below it, to `out` under the name
/// `called`; see [`Form::Plain`]. A symbolic link is written as such.
///
/// # Errors
/// As [`pack`].
pub fn pack_one(parent: &OwnedFd, name: &OsStr, called: &Path, out: &mut dyn Write) -> Result<()> {
    let mut packer = Packer::new(out, Form::Plain, &[]);
    packer.member(parent, called, &name.to_owned())?;
    packer.end()
}

struct Packer<'a> {
    out: &'a mut dyn Write,
    form: Form,
    /// Files with several names: device and inode to the name that was written first.
    links: HashMap<(u64, u64), PathBuf>,
    buffer: Vec<u8>,
    /// Lower directories, in any order.
    below: &'a [PathBuf],
    /// What is hidden of them, below the root.
    hidden: BTreeSet<PathBuf>,
}

impl<'a> Packer<'a> {
    fn new(out: &'a mut dyn Write, form: Form, below: &'a [PathBuf]) -> Packer<'a> {
        let (links, buffer, hidden) = (HashMap::new(), vec![0; BUFFER_BYTES], BTreeSet::new());
        Packer { out, form, links, buffer, below, hidden }
    }

    fn end(&mut self) -> Result<()> {
        self.out.write_all(&END_OF_ARCHIVE).context("write", "the archive")
    }

    fn directory(&mut self, dir: &OwnedFd, path: &Path) -> Result<()> {
        let stat = rustix::fs::fstat(dir).context("look at", path.display())?;
        let mut entry = self.entry(path, &stat, EntryType::Directory)?;
        let is_opaque = self.add_xattrs(&mut entry, &own_path(dir, "."), path)?;
        if self.form == Form::Changes {
            self.add_hidden(&mut entry, dir, path, is_opaque)?;
        }
        self.finish(entry)?;
        if is_opaque && self.form == Form::Layer {
            self.marker(&path.join(OsStr::from_bytes(OPAQUE_MEMBER)))?;
        }
        self.below(dir, path)
    }

    /// Adds the records of what a directory hides, and remembers it.
    fn add_hidden(
        &mut self,
        entry: &mut EntryBuilder,
        dir: &OwnedFd,
        path: &Path,
        is_opaque: bool,
    ) -> Result<()> {
        let mut record = Vec::new();
        let (mut whiteouts, mut present) = (Vec::new(), BTreeSet::new());
        for name in names(dir, path)? {
            let stat =
                statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW).context("look at", path.display())?;
            if is_whiteout(&stat) {
                record.extend_from_slice(name.as_bytes());
                record.push(b'/');
                whiteouts.push(name);
            } else {
                present.insert(name);
            }
        }
        if !record.is_empty() {
            entry.add_pax(WHITEOUTS_RECORD, record);
        }
        if is_opaque {
            entry.add_pax(OPAQUE_RECORD, "1");
            whiteouts.extend(self.names_below(path).filter(|name| !present.contains(name)));
        }
        let inner = path.strip_prefix(".").unwrap_or(path);
        self.hidden.extend(whiteouts.iter().map(|name| inner.join(name)));
        Ok(())
    }

    /// What the lower directories have in a directory.
    fn names_below(&self, path: &Path) -> impl Iterator<Item = OsString> {
        let dirs = self.below.iter().filter_map(move |lower| fs::read_dir(lower.join(path)).ok());
        dirs.flatten().flatten().map(|entry| entry.file_name())
    }

    fn below(&mut self, dir: &OwnedFd, path: &Path) -> Result<()> {
        names(dir, path)?.iter().try_for_each(|name| self.member(dir, &path.join(name), name))
    }

    fn member(&mut self, dir: &OwnedFd, path: &Path, name: &OsString) -> Result<()> {
        let stat =
            statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).context("look at", path.display())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(dir, name, flags, Mode::empty()).context("open", path.display())?;
            return self.directory(&inner, path);
        }
        match (self.form, kind) {
            (Form::Layer, _) if is_whiteout(&stat) => self.whiteout(path, name),
            // It stands among the records of its directory.
            (Form::Changes, _) if is_whiteout(&stat) => Ok(()),
            (Form::Layer, _) if name.as_bytes().starts_with(WHITEOUT_PREFIX) => {
                Err(refused(path, "in a layer its name would mean a removed file"))
            }
            (Form::Layer | Form::Plain, FileType::Socket) => Ok(()),
            _ => self.file(dir, path, name, &stat),
        }
    }

    fn file(&mut self, dir: &OwnedFd, path: &Path, name: &OsString, stat: &Stat) -> Result<()> {
        if stat.st_nlink > 1 && !is_whiteout(stat) {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert(path.to_owned());
            if first != path {
                let target = first.clone();
                let mut entry = self.entry(path, stat, EntryType::Link)?;
                entry.link_name(target.as_os_str().as_bytes());
                return self.finish(entry);
            }
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut entry = self.entry(path, stat, entry_type(kind, path)?)?;
        self.add_xattrs(&mut entry, &own_path(dir, name), path)?;
        match kind {
            FileType::RegularFile => return self.regular(dir, name, path, entry),
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).context("read", path.display())?;
                entry.link_name(target.as_bytes());
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                entry
                    .device(major(stat.st_rdev), minor(stat.st_rdev))
                    .map_err(|error| refused(path, error))?;
            }
            FileType::Socket => drop(entry.add_pax(SOCKET_RECORD, "1")),
            _ => {}
        }
        self.finish(entry)
    }

    fn whiteout(&mut self, path: &Path, name: &OsString) -> Result<()> {
        let mut marker = OsString::from_vec(WHITEOUT_PREFIX.to_vec());
        marker.push(name);
        self.marker(&path.with_file_name(marker))
    }

    /// An empty file that nobody ever sees as such; nothing of it depends on when it was made.
    fn marker(&mut self, path: &Path) -> Result<()> {
        let mut entry = EntryBuilder::new_ustar();
        let mut fill = || -> std::result::Result<(), tar_core::HeaderError> {
            entry.path(path.as_os_str().as_bytes()).entry_type(EntryType::Regular);
            entry.mode(0)?.uid(0)?.gid(0)?.size(0)?.mtime(0)?;
            Ok(())
        };
        fill().map_err(|error| refused(path, error))?;
        self.finish(entry)
    }

    fn regular(
        &mut self,
        dir: &OwnedFd,
        name: &OsString,
        path: &Path,
        mut entry: EntryBuilder,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
        let file = openat(dir, name, flags, Mode::empty()).context("open", path.display())?;
        let mut file = File::from(file);
        let size = file.metadata().context("look at", path.display())?.len();
        let extents = extents(&mut file, size).context("read", path.display())?;
        let data: u64 = extents.iter().map(|extent| extent.length).sum();
        let is_sparse = data < size && data < MAX_HEADER_SIZE / 2;
        let extents =
            if is_sparse { extents } else { vec![SparseEntry { offset: 0, length: size }] };
        let stored = if is_sparse { data } else { size };
        entry.size(stored).map_err(|error| refused(path, error))?;
        if is_sparse {
            let mut map = extents.clone();
            // GNU tar takes the end of the last extent for the end of the file.
            map.push(SparseEntry { offset: size, length: 0 });
            entry.sparse(&map, size);
        }
        self.finish(entry)?;
        for extent in extents {
            file.seek(SeekFrom::Start(extent.offset)).context("read", path.display())?;
            self.copy(&mut file, extent.length, path)?;
        }
        let zeros = vec![0; usize::try_from(padding(stored)).unwrap_or(0)];
        self.out.write_all(&zeros).context("write", "the archive")
    }

    fn copy(&mut self, file: &mut File, len_bytes: u64, path: &Path) -> Result<()> {
        let mut left = len_bytes;
        while left > 0 {
            let wanted = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = file.read(&mut self.buffer[..wanted]).context("read", path.display())?;
            if count == 0 {
                return Err(refused(path, "it became shorter while it was read"));
            }
            self.out.write_all(&self.buffer[..count]).context("write", "the archive")?;
            left -= count as u64;
        }
        Ok(())
    }

    fn entry(&self, path: &Path, stat: &Stat, kind: EntryType) -> Result<EntryBuilder> {
        let mut entry = EntryBuilder::new_ustar();
        let mut name = path.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        let fill = || -> std::result::Result<(), tar_core::HeaderError> {
            entry.path(name).entry_type(kind);
            entry.mode(stat.st_mode & 0o7777)?;
            entry.uid(stat.st_uid.into())?;
            entry.gid(stat.st_gid.into())?;
            entry.size(0)?;
            entry.mtime(u64::try_from(stat.st_mtime).unwrap_or(0))?;
            Ok(())
        };
        fill().map_err(|error| refused(path, error))?;
        entry.add_pax("mtime", time_record(stat.st_mtime, stat.st_mtime_nsec));
        if matches!(self.form, Form::Exact | Form::Changes) {
            entry.add_pax("atime", time_record(stat.st_atime, stat.st_atime_nsec));
        }
        Ok(entry)
    }

    fn finish(&mut self, mut entry: EntryBuilder) -> Result<()> {
        self.out.write_all(&entry.finish_bytes()).context("write", "the archive")
    }

    /// Tells whether the directory is opaque, where that is not written as an attribute.
    fn add_xattrs(&self, entry: &mut EntryBuilder, own: &Path, path: &Path) -> Result<bool> {
        let mut is_opaque = false;
        for (name, value) in xattrs(own, path)? {
            let is_overlays = name.as_bytes().starts_with(OVERLAY_PREFIX);
            if is_overlays && matches!(self.form, Form::Layer | Form::Changes) {
                is_opaque |= is_opaque_attribute(&name, &value, path)?;
            }
            let prefix = match (self.form, is_overlays) {
                (Form::Changes, true) if name == OPAQUE_ATTRIBUTE => continue,
                (Form::Changes, true) => OWN_XATTR_PREFIX,
                (Form::Layer | Form::Plain, true) => continue,
                (Form::Exact, true) | (_, false) => XATTR_PREFIX,
            };
            let Some(name) = name.to_str() else {
                return Err(refused(path, "the name of an extended attribute is not text"));
            };
            entry.add_pax(&format!("{prefix}{name}"), value);
        }
        Ok(is_opaque)
    }
}

/// All whiteouts of an overlay may be names of one inode; each is written as itself.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn entry_type(kind: FileType, path: &Path) -> Result<EntryType> {
    Ok(match kind {
        FileType::RegularFile => EntryType::Regular,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo | FileType::Socket => EntryType::Fifo,
        FileType::CharacterDevice => EntryType::Char,
        FileType::BlockDevice => EntryType::Block,
        FileType::Unknown => return Err(refused(path, "its type is unknown")),
    })
}

/// Sorted, so that the same tree gives the same stream.
fn names(dir: &OwnedFd, path: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).context("read", path.display())? {
        let entry = entry.context("read", path.display())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    Ok(names)
}

fn xattrs(own: &Path, path: &Path) -> Result<Vec<(OsString, Vec<u8>)>> {
    let names = match xattr::list(own) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context("read the attributes of", path.display()),
    };
    let mut xattrs = Vec::new();
    for name in names {
        let value = xattr::get(own, &name).context("read the attributes of", path.display())?;
        xattrs.extend(value.map(|value| (name, value)));
    }
    xattrs.sort();
    Ok(xattrs)
}

/// What overlayfs notes of an upper directory. A directory that was moved, or a file of which only the
/// attributes were copied up, is not whole without the layers below.
fn is_opaque_attribute(name: &OsStr, value: &[u8], path: &Path) -> Result<bool> {
    let needs_below = ["trusted.overlay.redirect", "trusted.overlay.metacopy"];
    if needs_below.iter().any(|known| name == *known) {
        let reason = "the overlay keeps only a part of it (redirect_dir or metacopy is on)";
        return Err(refused(path, reason));
    }
    Ok(name == OPAQUE_ATTRIBUTE && value == b"y")
}

/// Seconds before 1970 count backwards also in their fraction.
#[allow(clippy::cast_possible_wrap)]
fn time_record(seconds: i64, nanoseconds: u64) -> String {
    match (seconds, nanoseconds) {
        (..0, 1..) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

/// Where a file has data (lseek(2), `SEEK_DATA` and `SEEK_HOLE`).
fn extents(file: &mut File, size: u64) -> std::io::Result<Vec<SparseEntry>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(&*file, rustix::fs::SeekFrom::Data(at)) {
            Ok(offset) => offset,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&*file, rustix::fs::SeekFrom::Hole(offset))?.min(size);
        if end <= offset {
            break;
        }
        extents.push(SparseEntry { offset, length: end - offset });
        at = end;
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970() {
        assert_eq!(time_record(5, 7), "5.000000007");
        assert_eq!(time_record(-1, 500_000_000), "-0.500000000");
        assert_eq!(time_record(-2, 0), "-2.000000000");
    }
}
