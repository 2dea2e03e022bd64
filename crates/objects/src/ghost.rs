//! Files that are open but have no name any more.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Timestamps};
use stasis_model::{GhostContent, GhostFile, GhostId, PathFile};

use crate::{
    content::GhostSink,
    error::{Error, Result},
    gathering::{Gathering, Stored},
    path_file::open_below,
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
            GhostContent::Symlink(
                std::ffi::OsString::from(target.to_string_lossy().into_owned()).into(),
            )
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
    let made = match thawing.take_ghost_file(id) {
        Some(made) => made,
        None => make(id, &ghost, &path.path, thawing)?,
    };
    let opened = open_under_name(&made, &ghost, path, flags, thawing);
    thawing.keep_ghost_file(id, made);
    opened.map_err(Error::at(object, "open of the deleted file"))
}

fn make(id: GhostId, ghost: &GhostFile, path: &Path, thawing: &mut Thawing) -> Result<OwnedFd> {
    let object = path.display().to_string();
    let dir_path = path.parent().unwrap_or(Path::new("/"));
    let directory = open_below(thawing.root(), dir_path, OFlags::DIRECTORY.bits() as u32)
        .map_err(Error::at(dir_path.display().to_string(), "open"))?;
    let GhostContent::Regular { size } = ghost.content else {
        return Err(Error::Unsupported { object, reason: "deleted and not a regular file".into() });
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, ".", flags, Mode::from_raw_mode(0o600))
        .map_err(Error::at(object.clone(), "open(O_TMPFILE)"))?;
    rustix::fs::ftruncate(&file, size).map_err(Error::at(object.clone(), "ftruncate"))?;
    thawing
        .fill_ghost(id, file.as_fd())
        .map_err(|source| Error::Content { object: object.clone(), source })?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(ghost.uid), rustix::fs::Gid::from_raw(ghost.gid));
    rustix::fs::fchown(&file, Some(uid), Some(gid)).map_err(Error::at(object.clone(), "fchown"))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(ghost.mode & 0o7777))
        .map_err(Error::at(object.clone(), "fchmod"))?;
    set_times(&file, ghost).map_err(Error::at(object, "utimensat"))?;
    Ok(file)
}

fn set_times(file: &OwnedFd, ghost: &GhostFile) -> rustix::io::Result<()> {
    let Some((access, modification)) = ghost.times else { return Ok(()) };
    let timespec = |microseconds: u64| rustix::fs::Timespec {
        tv_sec: i64::try_from(microseconds / 1_000_000).unwrap_or(0),
        tv_nsec: i64::try_from(microseconds % 1_000_000 * 1000).unwrap_or(0),
    };
    let times =
        Timestamps { last_access: timespec(access), last_modification: timespec(modification) };
    rustix::fs::futimens(file, &times)
}

fn open_under_name(
    made: &OwnedFd,
    _ghost: &GhostFile,
    path: &PathFile,
    flags: u32,
    thawing: &Thawing,
) -> rustix::io::Result<OwnedFd> {
    let by_fd = format!("/proc/self/fd/{}", made.as_raw_fd());
    let dir_path = path.path.parent().unwrap_or(Path::new("/"));
    let name = path.path.file_name().unwrap_or_default();
    let directory = open_below(thawing.root(), dir_path, OFlags::DIRECTORY.bits() as u32)?;
    let linked =
        rustix::fs::linkat(rustix::fs::CWD, &by_fd, &directory, name, AtFlags::SYMLINK_FOLLOW);
    if linked.is_err() {
        // The name is taken again: the file goes without.
        let flags = OFlags::from_bits_retain(flags & !0o20_000_000) | OFlags::CLOEXEC;
        return rustix::fs::open(by_fd, flags, Mode::empty());
    }
    let opened = open_below(thawing.root(), &path.path, flags);
    rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    opened
}
