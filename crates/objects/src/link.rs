//! Files whose name is gone but that have another one: a link of our own beside the lost name keeps
//! the inode findable, and is taken away when a restore has opened it.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, OFlags};
use stasis_model::{FileId, FileKind, OpenFile, PathFile};

use crate::{
    error::{Error, Result},
    gathering::Gathering,
    ghost::Place,
    path_file::{self, open_below},
    thawing::Thawing,
};

/// A link made for a checkpoint; it goes with this value unless it is kept.
#[derive(Debug)]
pub struct Link {
    directory: OwnedFd,
    name: String,
    kept: bool,
}

impl Link {
    /// The checkpoint is complete and needs the link.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.kept {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Gives a file another name and returns the open file that bears it. One inode gets one link.
///
/// # Errors
/// [`Error::Kernel`] if there is no directory that can take it.
pub fn freeze(
    file: &OwnedFd,
    stat: &rustix::fs::Stat,
    path: &Path,
    gathering: &mut Gathering,
) -> Result<FileId> {
    let inode = (stat.st_dev, stat.st_ino);
    if let Some(id) = gathering.linked.get(&inode) {
        return Ok(*id);
    }
    let root = gathering.open_root()?;
    let (link, path) = make(file.as_fd(), root.as_fd(), path)
        .map_err(Error::at(path.display().to_string(), "linkat"))?;
    gathering.links.push(link);
    let kind = FileKind::Path(path_file::describe(path, stat, 0));
    let id = gathering.add_file(OpenFile { flags: 0, owner: None, kind });
    gathering.linked.insert(inode, id);
    Ok(id)
}

/// The lost name's directory is tried first, then those above it.
fn make(
    file: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    path: &Path,
) -> rustix::io::Result<(Link, PathBuf)> {
    const TRIES: u32 = 10_000;
    let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
    for parent in path.ancestors().skip(1) {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match open_below(root, parent, flags.bits()) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other?,
        };
        for number in 1..TRIES {
            let name = format!("link_remap.{number}");
            let follow = AtFlags::SYMLINK_FOLLOW;
            match rustix::fs::linkat(rustix::fs::CWD, &by_fd, &directory, &name, follow) {
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno),
                Ok(()) => {
                    let path = parent.join(&name);
                    return Ok((Link { directory, name, kept: false }, path));
                }
            }
        }
    }
    Err(rustix::io::Errno::NOENT)
}

/// Opens the file that `link` names under its lost name.
pub fn open(link: FileId, path: &PathFile, flags: u32, thawing: &mut Thawing) -> Result<OwnedFd> {
    let FileKind::Path(named) = &thawing.model_file(link).kind else {
        let object = path.path.display().to_string();
        return Err(Error::Unsupported { object, reason: "its link is no file".into() });
    };
    let what = named.path.display().to_string();
    let file = open_below(thawing.root(), &named.path, (OFlags::PATH | OFlags::NOFOLLOW).bits())
        .map_err(Error::at(what, "open of the link that keeps a deleted file"))?;
    let what = path.path.display().to_string();
    let place = Place::find(thawing.root(), &path.path)
        .map_err(Error::at(&what, "open of its directory"))?;
    let opened = place.open_linked(file.as_fd(), flags).map_err(Error::at(what, "open"))?;
    thawing.note_link(&named.path);
    Ok(opened)
}

/// Takes the links away, when the restore cannot fail any more.
pub fn remove(thawing: &Thawing) -> Result<()> {
    for path in thawing.links() {
        let what = path.display().to_string();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = open_below(thawing.root(), parent, OFlags::DIRECTORY.bits())
            .map_err(Error::at(&what, "open of its directory"))?;
        match rustix::fs::unlinkat(
            &directory,
            path.file_name().unwrap_or_default(),
            AtFlags::empty(),
        ) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(Error::at(what, "unlinkat")(errno)),
        }
    }
    Ok(())
}
