//! Attributes of directories that a layer has members in but does not tell of.
//!
//! What lies in the upper of two merged directories decides how the directory looks, so one that is
//! made only to hold a file must look as it does below.

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, fchmod, fchown,
        open, statat,
    },
    io::Errno,
};

use super::{
    OVERLAY_PREFIX,
    beneath::{open_beneath, own_path},
};
use crate::error::{Context, Result};

/// The layers below, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Inherited<'a> {
    below: &'a [PathBuf],
}

/// What a directory looks like.
pub(super) struct Attributes {
    stat: Stat,
    xattrs: Vec<(OsString, Vec<u8>)>,
    pub times: Timestamps,
}

impl<'a> Inherited<'a> {
    pub fn new(below: &'a [PathBuf]) -> Inherited<'a> {
        Inherited { below }
    }

    /// What one would see of a directory, empty for the root, before this layer is there.
    pub fn of(&self, dir: &Path) -> Result<Option<Attributes>> {
        for lower in self.below.iter().rev() {
            match find(lower, dir)? {
                Found::Directory(opened) => return Attributes::read(&opened, dir).map(Some),
                Found::Hidden => return Ok(None),
                Found::Nothing => {}
            }
        }
        Ok(None)
    }
}

enum Found {
    Directory(OwnedFd),
    /// Something that hides what lies below it.
    Hidden,
    Nothing,
}

fn find(lower: &Path, dir: &Path) -> Result<Found> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(lower, flags, Mode::empty()).context("open", lower.display())?;
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    match open_beneath(&root, dir, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(opened) => Ok(Found::Directory(opened)),
        Err(Errno::NOENT) if !is_under_opaque(&root, dir) => Ok(Found::Nothing),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Found::Hidden),
        Err(error) => Err(error).context("open", dir.display()),
    }
}

/// Does a directory on the way hide what lies below it?
fn is_under_opaque(root: &OwnedFd, dir: &Path) -> bool {
    dir.ancestors().filter(|above| !above.as_os_str().is_empty()).any(|above| {
        let is_dir = statat(root, above, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        is_dir
            && xattr::get(own_path(root, above), super::OPAQUE_ATTRIBUTE)
                .is_ok_and(|value| value.as_deref() == Some(b"y"))
    })
}

impl Attributes {
    fn read(dir: &OwnedFd, path: &Path) -> Result<Attributes> {
        use std::os::unix::ffi::OsStrExt;
        let stat = rustix::fs::fstat(dir).context("look at", path.display())?;
        let own = own_path(dir, ".");
        let names = xattr::list(&own).context("read the attributes of", path.display())?;
        let mut xattrs = Vec::new();
        for name in names.filter(|name| !name.as_bytes().starts_with(OVERLAY_PREFIX)) {
            let value =
                xattr::get(&own, &name).context("read the attributes of", path.display())?;
            xattrs.extend(value.map(|value| (name, value)));
        }
        let time = |tv_sec, tv_nsec: u64| Timespec {
            tv_sec,
            tv_nsec: i64::try_from(tv_nsec).unwrap_or(0),
        };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        Ok(Attributes { stat, xattrs, times })
    }

    pub fn set(&self, dir: &OwnedFd, path: &Path) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(self.stat.st_uid), Gid::from_raw(self.stat.st_gid));
        fchown(dir, Some(uid), Some(gid)).context("change the owner of", path.display())?;
        fchmod(dir, Mode::from_raw_mode(self.stat.st_mode & 0o7777))
            .context("change the mode of", path.display())?;
        let own = own_path(dir, ".");
        for (name, value) in &self.xattrs {
            xattr::set(&own, name, value).context("set the attributes of", path.display())?;
        }
        Ok(())
    }
}
