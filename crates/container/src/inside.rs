//! Paths inside a root file system, which no link and no `..` leads out of (openat2(2),
//! `RESOLVE_IN_ROOT`).

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, statat, unlinkat},
    io::Errno,
};

use stasis_sys::openat2;

use crate::error::{Context, Result};

/// Opens the directory that will be the root.
///
/// # Errors
/// [`crate::Error::Refused`] if it is none.
pub fn open_root(dir: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty()).context("open", dir.display())
}

/// A name of something open, for calls that take names only.
pub(crate) fn path_of(open: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
}

/// Opens what stands at `path`, which is taken from the root on.
///
/// # Errors
/// The kernel's own.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    create(root, path, flags, Mode::empty())
}

/// As [`open`], also of a file that is not there yet, if `flags` say so.
///
/// # Errors
/// The kernel's own.
pub fn create(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let inner = path.strip_prefix("/").unwrap_or(path);
    let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2::open(root, inner, flags | OFlags::CLOEXEC, mode, resolve)
}

/// Makes a directory with those above it. On a file system that cannot be written nothing is made,
/// and nothing is wrong.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel, for instance if a file is in the way.
pub fn make_dirs(root: impl AsFd, path: &Path) -> Result<()> {
    let root = root.as_fd();
    let mut made = PathBuf::new();
    for part in path.components() {
        let Component::Normal(part) = part else { continue };
        let above =
            open(root, &made, OFlags::PATH | OFlags::DIRECTORY).context("open", made.display())?;
        match mkdirat(&above, part, Mode::from(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::ROFS) => return Ok(()),
            Err(error) => return Err(error).context("make directory", made.join(part).display()),
        }
        made.push(part);
    }
    Ok(())
}

/// Makes an empty file if there is none. A link that leads nowhere is replaced by it.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub fn make_file(root: impl AsFd, path: &Path) -> Result<()> {
    let root = root.as_fd();
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    if open(root, path, OFlags::PATH).is_ok() {
        return Ok(());
    }
    make_dirs(root, dir)?;
    let above = open(root, dir, OFlags::PATH | OFlags::DIRECTORY).context("open", dir.display())?;
    let stat = statat(&above, name, AtFlags::SYMLINK_NOFOLLOW);
    if stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink) {
        unlinkat(&above, name, AtFlags::empty()).context("replace", path.display())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    create(root, path, flags, Mode::from(0o644)).context("make", path.display()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let root = open_root(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_stay_inside() {
        let (dir, root) = root();
        symlink("../../../up", dir.path().join("root/etc")).unwrap();
        fs::create_dir(dir.path().join("root/up")).unwrap();
        make_dirs(&root, Path::new("/etc/made")).unwrap();
        make_file(&root, Path::new("/etc/hosts")).unwrap();
        assert!(dir.path().join("root/up/made").is_dir());
        assert!(dir.path().join("root/up/hosts").is_file());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_nowhere_becomes_a_file() {
        let (dir, root) = root();
        symlink("/run/nowhere", dir.path().join("root/resolv.conf")).unwrap();
        make_file(&root, Path::new("/resolv.conf")).unwrap();
        let meta = fs::symlink_metadata(dir.path().join("root/resolv.conf")).unwrap();
        assert!(meta.is_file());
    }
}
