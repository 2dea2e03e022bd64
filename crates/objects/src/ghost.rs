//! Files that are open but have no name any more.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Timestamps};
use stasis_model::{GhostContent, GhostFile, GhostId, PathFile};

use crate::{
    content::GhostSink,
    error::{Error, Result},
    gathering::{Gathering, Stored},
    path_file::{self, open_below},
    thawing::Thawing,
};

/// Remembers an unlinked inode; its content is stored later by [`store`]. One inode is one ghost.
pub fn freeze(
    file: &OwnedFd,
    stat: &rustix::fs::Stat,
    gathering: &mut Gathering,
) -> Result<GhostId> {
    let inode = (stat.st_dev, stat.st_ino);
    if let Some(id) = gathering.ghosts.get(&inode) {
        return Ok(*id);
    }
    let id = GhostId(u32::try_from(gathering.ghosts.len() + 1).expect("few ghosts"));
    gathering.ghosts.insert(inode, id);
    let content = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let copy = rustix::io::fcntl_dupfd_cloexec(file, 0)
                .map_err(Error::at("deleted file", "dup"))?;
            gathering.stored.push(Stored::Ghost { id, file: copy });
            GhostContent::Regular { size: u64::try_from(stat.st_size).unwrap_or(0) }
        }
        FileType::Symlink => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let target = rustix::fs::readlinkat(file, "", Vec::new())
                .map_err(Error::at(path, "readlinkat"))?;
            GhostContent::Symlink(OsString::from_vec(target.into_bytes()).into())
        }
        _ => GhostContent::None,
    };
    let device = FileType::from_raw_mode(stat.st_mode);
    let is_device = matches!(device, FileType::CharacterDevice | FileType::BlockDevice);
    gathering.tree.ghosts.insert(
        id,
        GhostFile {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
            rdev: is_device.then(|| u32::try_from(stat.st_rdev).unwrap_or(0)),
            origin: Some((kernel_device(stat.st_dev), stat.st_ino)),
            times: Some((
                microseconds(stat.st_atime, stat.st_atime_nsec),
                microseconds(stat.st_mtime, stat.st_mtime_nsec),
            )),
            content,
        },
    );
    Ok(id)
}

/// The kernel's own coding of a device number.
pub fn kernel_device(dev: u64) -> u32 {
    rustix::fs::major(dev) << 20 | rustix::fs::minor(dev)
}

fn microseconds(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000) + nanoseconds / 1000
}

/// Gives the data of an unlinked file to the sink, holes left out.
pub fn store(file: BorrowedFd<'_>, size: u64, sink: &mut dyn GhostSink) -> std::io::Result<()> {
    for_each_data(file, size, |offset, len| sink.copy(file, offset, len))
}

/// Calls `each` for all ranges that hold data.
pub fn for_each_data(
    file: BorrowedFd<'_>,
    size: u64,
    mut each: impl FnMut(u64, u64) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(rustix::io::Errno::INVAL) => {
                // A file system without holes.
                return each(at, size - at);
            }
            Err(errno) => return Err(errno.into()),
        };
        if start >= size {
            break;
        }
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        each(start, end - start)?;
        at = end;
    }
    Ok(())
}

/// Makes the unlinked file once more (once for all who have it open) and opens it.
///
/// It gets its old name for a moment, so that `/proc` shows it as it did.
pub fn open(id: GhostId, path: &PathFile, flags: u32, thawing: &mut Thawing) -> Result<OwnedFd> {
    let object = path.path.display().to_string();
    let ghost = thawing.ghost(id).cloned().ok_or_else(|| Error::Unsupported {
        object: object.clone(),
        reason: "its content is missing".into(),
    })?;
    let place = Place::find(thawing.root(), &path.path)
        .map_err(Error::at(&object, "open of its directory"))?;
    let failed = Error::at(object, "open of the deleted file");
    if let GhostContent::Regular { size } = ghost.content {
        return match thawing.take_ghost_file(id) {
            Some(made) => {
                let opened = place.open_linked(made.as_fd(), flags);
                thawing.keep_ghost_file(id, made);
                opened.map_err(failed)
            }
            None => make_regular(id, (&ghost, size), &place, flags, thawing),
        };
    }
    let made = match thawing.take_ghost_file(id) {
        Some(made) => made,
        None => make_node(&ghost, &place)?,
    };
    let opened = reopen(made.as_fd(), flags);
    thawing.keep_ghost_file(id, made);
    opened.map_err(failed)
}

const TMPFILE: u32 = 0o20_000_000;
const O_NOFOLLOW: u32 = 0o400_000;

/// Opens a file that has no name.
fn reopen(made: BorrowedFd<'_>, flags: u32) -> rustix::io::Result<OwnedFd> {
    let by_fd = format!("/proc/self/fd/{}", made.as_raw_fd());
    rustix::fs::open(by_fd, path_file::again(flags & !O_NOFOLLOW), Mode::empty())
}

/// The first time that a regular file is opened.
fn make_regular(
    id: GhostId,
    (ghost, size): (&GhostFile, u64),
    place: &Place,
    flags: u32,
    thawing: &mut Thawing,
) -> Result<OwnedFd> {
    let object = place.path.display().to_string();
    let read_write = OFlags::RDWR.bits();
    // Whoever opened it with O_TMPFILE has that among its flags, and only open(2) sets it.
    let unnamed = (flags & TMPFILE != 0)
        .then(|| place.make_unnamed(path_file::again(flags & !TMPFILE)))
        .transpose()
        .map_err(Error::at(&object, "open(O_TMPFILE)"))?;
    let made = match &unnamed {
        Some(unnamed) => reopen(unnamed.as_fd(), read_write),
        None => place.make_unnamed(OFlags::RDWR | OFlags::CLOEXEC),
    };
    let made = made.map_err(Error::at(&object, "open(O_TMPFILE)"))?;
    rustix::fs::ftruncate(&made, size).map_err(Error::at(&object, "ftruncate"))?;
    thawing
        .fill_ghost(id, made.as_fd())
        .map_err(|source| Error::Content { object: object.clone(), source })?;
    let (uid, gid) = owner(ghost);
    rustix::fs::fchown(&made, Some(uid), Some(gid)).map_err(Error::at(&object, "fchown"))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(ghost.mode & 0o7777))
        .map_err(Error::at(&object, "fchmod"))?;
    set_times(&made, ghost).map_err(Error::at(&object, "utimensat"))?;
    let opened = match unnamed {
        Some(unnamed) => Ok(unnamed),
        None => place.open_linked(made.as_fd(), flags),
    };
    thawing.keep_ghost_file(id, made);
    opened.map_err(Error::at(object, "open of the deleted file"))
}

/// A directory, named pipe, device, socket or symbolic link, without its name and opened with `O_PATH`.
fn make_node(ghost: &GhostFile, place: &Place) -> Result<OwnedFd> {
    let object = place.path.display().to_string();
    let kind = FileType::from_raw_mode(ghost.mode);
    let mode = Mode::from_raw_mode(ghost.mode & 0o7777);
    let (directory, name) = place
        .with_free_name(|directory, name| match (&ghost.content, kind) {
            (GhostContent::Symlink(target), _) => rustix::fs::symlinkat(target, directory, name),
            (_, FileType::Directory) => rustix::fs::mkdirat(directory, name, mode),
            _ => {
                rustix::fs::mknodat(directory, name, kind, mode, u64::from(ghost.rdev.unwrap_or(0)))
            }
        })
        .map_err(Error::at(&object, "making the deleted file"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(directory, &name, flags, Mode::empty());
    let (uid, gid) = owner(ghost);
    let settled =
        rustix::fs::chownat(directory, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| match kind {
                FileType::Symlink => Ok(()),
                _ => rustix::fs::chmodat(directory, &name, mode, AtFlags::empty()),
            })
            .and_then(|()| match times(ghost) {
                Some(times) => {
                    rustix::fs::utimensat(directory, &name, &times, AtFlags::SYMLINK_NOFOLLOW)
                }
                None => Ok(()),
            });
    let how = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let removed = rustix::fs::unlinkat(directory, &name, how);
    settled.and(removed).and(made).map_err(Error::at(object, "making the deleted file"))
}

fn owner(ghost: &GhostFile) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (rustix::fs::Uid::from_raw(ghost.uid), rustix::fs::Gid::from_raw(ghost.gid))
}

fn set_times(file: &OwnedFd, ghost: &GhostFile) -> rustix::io::Result<()> {
    times(ghost).map_or(Ok(()), |times| rustix::fs::futimens(file, &times))
}

fn times(ghost: &GhostFile) -> Option<Timestamps> {
    let (access, modification) = ghost.times?;
    let timespec = |microseconds: u64| rustix::fs::Timespec {
        tv_sec: i64::try_from(microseconds / 1_000_000).unwrap_or(0),
        tv_nsec: i64::try_from(microseconds % 1_000_000 * 1000).unwrap_or(0),
    };
    Some(Timestamps { last_access: timespec(access), last_modification: timespec(modification) })
}

/// Where a file had its name. Directories that are gone as well come back as long as this lives.
pub struct Place {
    path: PathBuf,
    directory: OwnedFd,
    made: Vec<(OwnedFd, OsString)>,
}

impl Place {
    pub fn find(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<Self> {
        let mut made = Vec::new();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = find_directory(root, parent, &mut made);
        let directory = directory.inspect_err(|_| remove(&mut made))?;
        Ok(Place { path: path.to_owned(), directory, made })
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or(OsStr::new("deleted"))
    }

    /// Opens a file under its old name, which it has only meanwhile.
    pub fn open_linked(&self, file: BorrowedFd<'_>, flags: u32) -> rustix::io::Result<OwnedFd> {
        let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
        let (directory, name) = (&self.directory, self.name());
        let follow = AtFlags::SYMLINK_FOLLOW;
        if rustix::fs::linkat(rustix::fs::CWD, &by_fd, directory, name, follow).is_err() {
            // The name is taken again: the file goes without.
            return reopen(file, flags);
        }
        let flags = path_file::again(flags);
        let no_symlinks = ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(directory, name, flags, Mode::empty(), no_symlinks);
        rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        opened
    }

    /// A new regular file without a name, which it could be given.
    fn make_unnamed(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o600);
        let made = rustix::fs::openat(&self.directory, ".", flags | OFlags::TMPFILE, mode);
        match made {
            // Not every file system can do that.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let mut made = None;
                let create = flags | OFlags::CREATE | OFlags::EXCL;
                let (directory, name) = self.with_free_name(|directory, name| {
                    made = Some(rustix::fs::openat(directory, name, create, mode)?);
                    Ok(())
                })?;
                rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
                made.ok_or(rustix::io::Errno::IO)
            }
            other => other,
        }
    }

    /// Tries the old name and, if it is taken, others.
    fn with_free_name(
        &self,
        mut make: impl FnMut(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<()>,
    ) -> rustix::io::Result<(BorrowedFd<'_>, OsString)> {
        const TRIES: u32 = 100;
        let directory = self.directory.as_fd();
        let others = (1..TRIES).map(|number| format!(".stasis-{}-{number}", std::process::id()));
        for name in std::iter::once(self.name().to_owned()).chain(others.map(OsString::from)) {
            match make(directory, &name) {
                Err(rustix::io::Errno::EXIST) => {}
                other => return other.map(|()| (directory, name)),
            }
        }
        Err(rustix::io::Errno::EXIST)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&mut self.made);
    }
}

fn remove(made: &mut Vec<(OwnedFd, OsString)>) {
    while let Some((parent, name)) = made.pop() {
        // If somebody put something into it meanwhile, it stays.
        let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    }
}

fn find_directory(
    root: BorrowedFd<'_>,
    path: &Path,
    made: &mut Vec<(OwnedFd, OsString)>,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match (open_below(root, path, flags.bits()), path.parent(), path.file_name()) {
        (Err(rustix::io::Errno::NOENT), Some(parent), Some(name)) => {
            let parent = find_directory(root, parent, made)?;
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
            let directory = rustix::fs::openat(&parent, name, flags, Mode::empty());
            made.push((parent, name.to_owned()));
            directory
        }
        (other, _, _) => other,
    }
}
