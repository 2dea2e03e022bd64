//! What lies beneath a directory whose contents are not trusted: no link is followed (openat2(2)).

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use stasis_sys::openat2;

/// Opens a path without going through any link.
pub(super) fn open_beneath(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat2::open(root, path, flags, Mode::empty(), resolve)
}

/// Names a member without following a link that stands in its place.
pub(super) fn own_path(dir: &OwnedFd, name: impl AsRef<Path>) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name)
}
