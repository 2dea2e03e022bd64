//! Files with a path: regular files, directories, devices, `O_PATH`. Their contents stay where they are.
//!
//! A file whose name is gone has its content stored as a ghost (see [`crate::ghost`]).

use std::{
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, SeekFrom};
use stasis_model::{FileKind, OpenFile, PathFile, Remap};
use stasis_sys::openat2;

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
    ghost, link,
    thawing::Thawing,
};

const O_PATH: u32 = 0o10_000_000;
const O_APPEND: u32 = 0o2000;
const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;
/// Flags that open(2) must not see again.
const O_CREATION: u32 = 0o100 | 0o200 | 0o1000;
/// `O_TMPFILE`, of which `O_DIRECTORY` is a part.
const TMPFILE: u32 = 0o20_000_000;
const O_DIRECTORY: u32 = 0o200_000;
/// The flags that go with `O_PATH`: `O_DIRECTORY`, `O_NOFOLLOW`.
const WITH_PATH: u32 = O_PATH | O_DIRECTORY | O_NOFOLLOW;
const O_NOFOLLOW: u32 = 0o400_000;

/// Freezes an open file that has a path.
pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<FileKind> {
    let (path, deleted) = name_of(&open.link, &open.stat, gathering)?;
    let file_type = FileType::from_raw_mode(open.stat.st_mode);
    let mut frozen = describe(path, &open.stat, open.flags());
    frozen.position = (open.flags() & O_PATH == 0 && file_type != FileType::CharacterDevice)
        .then_some(open.common.position);
    if deleted {
        let file = reopen(open)?;
        frozen.remap = Some(remap(&file, &open.stat, &frozen.path, gathering)?);
    }
    Ok(FileKind::Path(frozen))
}

/// How a file comes back whose name is gone.
pub fn remap(
    file: &OwnedFd,
    stat: &rustix::fs::Stat,
    path: &Path,
    gathering: &mut Gathering,
) -> Result<Remap> {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if stat.st_nlink > 0 && !is_directory {
        return Ok(Remap::Linked(link::freeze(file, stat, path, gathering)?));
    }
    Ok(Remap::Ghost(ghost::freeze(file, stat, gathering)?))
}

/// A path file without position, as directories and mapped files are recorded.
pub fn describe(path: PathBuf, stat: &rustix::fs::Stat, flags: u32) -> PathFile {
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let only_written = flags & O_ACCMODE == O_WRONLY || flags & O_APPEND != 0;
    PathFile {
        path,
        position: Some(0),
        size: (regular && !only_written && flags & O_PATH == 0)
            .then(|| u64::try_from(stat.st_size).unwrap_or(0)),
        mode: Some(stat.st_mode),
        build_id: Vec::new(),
        mount: None,
        remap: None,
    }
}

/// The name of an open file and whether it is gone. A file may really be called `x (deleted)`.
pub fn name_of(
    link: &Path,
    stat: &rustix::fs::Stat,
    gathering: &Gathering,
) -> Result<(PathBuf, bool)> {
    let (path, marked) = without_deleted_mark(link);
    if marked && stat.st_nlink > 0 {
        let root = gathering.open_root()?;
        let opened = open_below(root.as_fd(), link, O_PATH | O_NOFOLLOW);
        let same =
            |found: rustix::fs::Stat| (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino);
        if opened.and_then(rustix::fs::fstat).is_ok_and(same) {
            return Ok((link.to_owned(), false));
        }
    }
    Ok((path, marked || stat.st_nlink == 0))
}

/// Takes the kernel's mark for files without a name off a path.
pub fn without_deleted_mark(link: &Path) -> (PathBuf, bool) {
    match link.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(plain) => (PathBuf::from(std::ffi::OsStr::from_bytes(plain)), true),
        None => (link.to_owned(), false),
    }
}

/// The file behind a descriptor, readable whatever it was opened for.
pub fn reopen(open: &OpenFd) -> Result<OwnedFd> {
    let path = format!("/proc/{}/fd/{}", open.pid, open.fd);
    let flags = if FileType::from_raw_mode(open.stat.st_mode) == FileType::RegularFile {
        OFlags::RDONLY | OFlags::NONBLOCK
    } else {
        OFlags::PATH
    };
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::at(open.what(), "open"))
}

/// Opens the file again, with its flags and at its position.
///
/// # Errors
/// [`Error::Changed`] if it is not the file that it was (size, mode).
pub fn thaw(path: &PathFile, file: &OpenFile, thawing: &mut Thawing) -> Result<OwnedFd> {
    let opened = open(path, file.flags, thawing)?;
    if let (Some(position), 0) = (path.position, file.flags & O_PATH) {
        seek(&opened, position, path)?;
    }
    Ok(opened)
}

/// Opens the path below the root of the tree's mount namespace.
pub fn open(path: &PathFile, flags: u32, thawing: &mut Thawing) -> Result<OwnedFd> {
    let opened = match path.remap {
        Some(Remap::Ghost(id)) => ghost::open(id, path, flags, thawing)?,
        Some(Remap::Linked(other)) => link::open(other, path, flags, thawing)?,
        Some(Remap::DeadProcess(pid)) => {
            return Err(Error::Unsupported {
                object: path.path.display().to_string(),
                reason: format!("it tells of process {pid}, which was dead already"),
            });
        }
        None => open_below(thawing.root(), &path.path, flags)
            .map_err(Error::at(path.path.display().to_string(), "open"))?,
    };
    check_unchanged(path, opened.as_fd())?;
    Ok(opened)
}

/// Opens an absolute path as if `root` were the root directory.
pub fn open_below(root: BorrowedFd<'_>, path: &Path, flags: u32) -> rustix::io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    // FIFOs and devices must not block us, and no terminal may become ours.
    openat2::open(root, relative, again(flags), Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Flags that open a file again which was once opened or made with the given ones.
pub fn again(flags: u32) -> OFlags {
    if flags & O_PATH != 0 {
        return OFlags::from_bits_retain(flags & WITH_PATH) | OFlags::CLOEXEC;
    }
    let made_unnamed = flags & TMPFILE != 0;
    let dropped = O_CREATION | if made_unnamed { TMPFILE | O_DIRECTORY } else { 0 };
    OFlags::from_bits_retain(flags & !dropped) | OFlags::NOCTTY | OFlags::CLOEXEC
}

fn seek(file: &OwnedFd, position: u64, path: &PathFile) -> Result<()> {
    if position == 0 {
        return Ok(());
    }
    rustix::fs::seek(file, SeekFrom::Start(position))
        .map(drop)
        .map_err(Error::at(path.path.display().to_string(), "lseek"))
}

fn check_unchanged(path: &PathFile, file: BorrowedFd<'_>) -> Result<()> {
    let object = || path.path.display().to_string();
    let stat = rustix::fs::fstat(file).map_err(Error::at(object(), "fstat"))?;
    let changed = |reason| Err(Error::Changed { object: object(), reason });
    match path.size {
        Some(size) if size != u64::try_from(stat.st_size).unwrap_or(0) => {
            return changed(format!("was {size} bytes long and is {} now", stat.st_size));
        }
        _ => {}
    }
    match path.mode {
        Some(mode) if mode != stat.st_mode => {
            changed(format!("had mode {mode:o} and has {:o} now", stat.st_mode))
        }
        _ => Ok(()),
    }
}
