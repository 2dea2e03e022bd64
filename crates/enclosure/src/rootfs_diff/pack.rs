//! From a directory to the stream.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, openat, readlinkat, statat,
    },
    io::Errno,
};
use tar_core::{EntryType, SparseEntry, builder::EntryBuilder};

use super::{SOCKET_RECORD, XATTR_PREFIX, padding};
use crate::error::{Context, Error, Result};

/// A tar header holds sizes below this; larger ones go to a record, which holes do not mix with.
const MAX_HEADER_SIZE: u64 = 0o77_777_777_777;
const END_OF_ARCHIVE: [u8; 1024] = [0; 1024];

/// Writes everything below `dir`, and the attributes of `dir` itself, to `out`.
///
/// Nobody may change the tree meanwhile. Symbolic links are not followed.
///
/// # Errors
/// [`Error::Refused`] naming the file that could not be read, or the stream.
pub fn pack(dir: &Path, out: &mut dyn Write) -> Result<()> {
    let root = File::open(dir).context("open", dir.display())?;
    let mut packer = Packer { out, links: HashMap::new() };
    packer.directory(&root.into(), Path::new("."))?;
    packer.out.write_all(&END_OF_ARCHIVE).context("write", "the archive")
}

struct Packer<'a> {
    out: &'a mut dyn Write,
    /// Files with several names: device and inode to the name that was written first.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Packer<'_> {
    fn directory(&mut self, dir: &OwnedFd, path: &Path) -> Result<()> {
        let stat = rustix::fs::fstat(dir).context("look at", path.display())?;
        let mut entry = self.entry(path, &stat, EntryType::Directory)?;
        add_xattrs(&mut entry, &own_path(dir, "."), path)?;
        self.finish(entry)?;
        for name in names(dir, path)? {
            self.member(dir, &path.join(&name), &name)?;
        }
        Ok(())
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
        if stat.st_nlink > 1 && !is_whiteout(&stat) {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert(path.to_owned());
            if first != path {
                let target = first.clone();
                let mut entry = self.entry(path, &stat, EntryType::Link)?;
                entry.link_name(target.as_os_str().as_bytes());
                return self.finish(entry);
            }
        }
        let mut entry = self.entry(path, &stat, entry_type(kind, path)?)?;
        add_xattrs(&mut entry, &own_path(dir, name), path)?;
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
        let extents = if is_sparse { extents } else { vec![SparseEntry { offset: 0, length: size }] };
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
            let copied = std::io::copy(&mut (&mut file).take(extent.length), self.out)
                .context("copy", path.display())?;
            if copied < extent.length {
                return Err(refused(path, "it became shorter while it was read"));
            }
        }
        let zeros = vec![0; usize::try_from(padding(stored)).unwrap_or(0)];
        self.out.write_all(&zeros).context("write", "the archive")
    }

    fn entry(&self, path: &Path, stat: &Stat, kind: EntryType) -> Result<EntryBuilder> {
        let mut entry = EntryBuilder::new_ustar();
        let mut fill = || -> std::result::Result<(), tar_core::HeaderError> {
            entry.path(path.as_os_str().as_bytes()).entry_type(kind);
            entry.mode(stat.st_mode & 0o7777)?;
            entry.uid(stat.st_uid.into())?;
            entry.gid(stat.st_gid.into())?;
            entry.size(0)?;
            entry.mtime(u64::try_from(stat.st_mtime).unwrap_or(0))?;
            Ok(())
        };
        fill().map_err(|error| refused(path, error))?;
        entry.add_pax("mtime", time_record(stat.st_mtime, stat.st_mtime_nsec));
        entry.add_pax("atime", time_record(stat.st_atime, stat.st_atime_nsec));
        Ok(entry)
    }

    fn finish(&mut self, mut entry: EntryBuilder) -> Result<()> {
        self.out.write_all(&entry.finish_bytes()).context("write", "the archive")
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

/// Names a member without following a link that stands in its place.
fn own_path(dir: &OwnedFd, name: impl AsRef<Path>) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name)
}

fn add_xattrs(entry: &mut EntryBuilder, own: &Path, path: &Path) -> Result<()> {
    let names = match xattr::list(own) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => return Ok(()),
        Err(error) => return Err(error).context("read the attributes of", path.display()),
    };
    for name in names {
        let value = xattr::get(own, &name).context("read the attributes of", path.display())?;
        let Some(text) = name.to_str() else {
            return Err(refused(path, "the name of an extended attribute is not text"));
        };
        if let Some(value) = value {
            entry.add_pax(&format!("{XATTR_PREFIX}{text}"), value);
        }
    }
    Ok(())
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

fn refused(path: &Path, reason: impl ToString) -> Error {
    Error::Archive { member: path.display().to_string(), reason: reason.to_string() }
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
