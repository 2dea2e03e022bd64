//! `diff`: what a container has changed in its root file system.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat},
    io::Errno,
};

use crate::{
    error::{Context, Result},
    inside, rootfs,
    store::Container,
};

/// One path that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// From the root on.
    pub path: PathBuf,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Changed,
    Added,
    Deleted,
}

impl Container {
    /// What differs from what the container was made of, in the order of paths. A directory in which
    /// something differs has changed itself.
    ///
    /// # Errors
    /// [`crate::Error::WrongState`] if changes go to a directory of the host: nobody knows what was
    /// there before.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let _lock = self.command_lock()?;
        if !self.config.rootfs.is_layered() {
            return Err(self.wrong_state(
                "stands on a directory of the host and changes the directory itself: there is \
                 nothing to compare it with",
            ));
        }
        if !self.place.upper().exists() {
            return Ok(Vec::new());
        }
        let upper = inside::open_root(&self.place.upper())?;
        let Some(below) = rootfs::below(self)? else { return Ok(Vec::new()) };
        let mut comparison = Comparison { changes: Vec::new() };
        comparison.directory(&upper, Some(&below), Path::new("/"))?;
        let mut changes = comparison.changes;
        changes.sort();
        Ok(changes)
    }
}

struct Comparison {
    changes: Vec<Change>,
}

impl Comparison {
    /// Compares what lies in a directory of the upper layer with what lies below; tells whether
    /// anything differs.
    fn directory(&mut self, upper: &OwnedFd, below: Option<&OwnedFd>, path: &Path) -> Result<bool> {
        let before = self.changes.len();
        let names = names(upper, path)?;
        for name in &names {
            self.member(upper, below, name, &path.join(name))?;
        }
        if let Some(below) = below.filter(|_| is_opaque(upper)) {
            for name in self::names(below, path)?.into_iter().filter(|name| !names.contains(name)) {
                self.push(path.join(name), ChangeKind::Deleted);
            }
        }
        Ok(self.changes.len() > before)
    }

    fn member(
        &mut self,
        upper: &OwnedFd,
        below: Option<&OwnedFd>,
        name: &OsStr,
        path: &Path,
    ) -> Result<()> {
        let now = look(upper, name, path)?;
        let Some(now) = now else { return Ok(()) };
        let before = below.map(|below| look(below, name, path)).transpose()?.flatten();
        if is_whiteout(&now) {
            if before.is_some() {
                self.push(path.to_owned(), ChangeKind::Deleted);
            }
            return Ok(());
        }
        let is_directory =
            |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mut differs = before.as_ref().is_none_or(|before| !is_same(before, &now));
        if is_directory(&now) {
            let inner = open_directory(upper, name, path)?;
            let inner_below = match before.as_ref().filter(|stat| is_directory(stat)) {
                Some(_) => below.map(|below| open_directory(below, name, path)).transpose()?,
                None => None,
            };
            differs |= self.directory(&inner, inner_below.as_ref(), path)?;
        }
        if differs {
            let kind = if before.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            self.push(path.to_owned(), kind);
        }
        Ok(())
    }

    fn push(&mut self, path: PathBuf, kind: ChangeKind) {
        self.changes.push(Change { path, kind });
    }
}

/// None if it is gone: the container may run.
fn look(dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Stat>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error).context("look at", path.display()),
    }
}

fn open_directory(dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).context("open", path.display())
}

fn names(dir: impl AsFd, path: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).context("read", path.display())? {
        let entry = entry.context("read", path.display())?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    Ok(names)
}

/// What overlayfs leaves in the place of what was removed.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A new directory in the place of a removed one shows nothing of what lies below.
fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value[..]).is_ok() && value == *b"y"
}

/// A file that was opened for writing and left alone is copied, with its times.
fn is_same(before: &Stat, now: &Stat) -> bool {
    let facts = |stat: &Stat| {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let size = if is_directory { 0 } else { stat.st_size };
        let times = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev, size, times)
    };
    facts(before) == facts(now)
}
