//! What a volume holds when it is used for the first time: the files that the root file system of its
//! first container has in its place, with owners, modes, links and extended attributes.

use std::{fs, os::fd::OwnedFd, path::Path};

use rustix::{fs::OFlags, io::Errno};
use stasis_enclosure::tar::{self, Form};

use super::{Volume, Volumes, mounting};
use crate::{
    config::{Filling, VolumeSource},
    error::{Context, Result},
    inside, record, transfer,
};

/// The root file system that new volumes are filled from.
pub(crate) struct Origin {
    /// None if there is nothing at all in it.
    pub root: Option<OwnedFd>,
}

impl Origin {
    /// Opens what stands at `target`; links lead nowhere outside. `None` if there is no directory.
    fn open(&self, target: &Path) -> Result<Option<OwnedFd>> {
        let Some(root) = &self.root else { return Ok(None) };
        match inside::open(root, target, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error).context("open", target.display()),
        }
    }
}

/// Fills a volume that is empty, as its first container; others are left as they are.
pub(super) fn fill(
    volumes: &Volumes,
    volume: &Volume,
    source: &VolumeSource,
    origin: &Origin,
    target: &Path,
) -> Result<()> {
    if source.filling == Filling::Never {
        return Ok(());
    }
    let Some(from) = origin.open(target)? else { return Ok(()) };
    let _lock = volumes.lock_of(&volume.name)?;
    if volume.options.is_empty() {
        fill_plain(volumes, volume, &from)
    } else {
        fill_mounted(volumes, volume, &from)
    }
}

/// Copied beside and renamed: half a copy would be taken for the user's own files.
fn fill_plain(volumes: &Volumes, volume: &Volume, from: &OwnedFd) -> Result<()> {
    let data = volumes.mountpoint(&volume.name);
    if !is_empty(&data)? {
        return Ok(());
    }
    let fresh = volumes.dir(&volume.name).join("_data.new");
    record::remove_tree(&fresh)?;
    fs::create_dir(&fresh).context("make directory", fresh.display())?;
    let copied = copy(from, &fresh);
    if copied.is_err() {
        record::remove_tree(&fresh)?;
    }
    copied?;
    fs::rename(&fresh, &data).context("fill volume", &volume.name)
}

fn fill_mounted(volumes: &Volumes, volume: &Volume, from: &OwnedFd) -> Result<()> {
    let data = volumes.mountpoint(&volume.name);
    let was_mounted = mounting::mount(volumes, volume)?;
    let filled = is_empty(&data).and_then(|empty| if empty { copy(from, &data) } else { Ok(()) });
    if was_mounted == mounting::Before::Unmounted && !mounting::is_in_memory(volume) {
        stasis_enclosure::mount::unmount_all(&data)?;
    }
    filled
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(fs::read_dir(dir).context("read", dir.display())?.next().is_none())
}

/// Copies a tree with all that belongs to it.
fn copy(from: &OwnedFd, to: &Path) -> Result<()> {
    let from = inside::path_of(from);
    transfer::through(
        |out| Ok(tar::pack(&from, Form::Exact, out)?),
        |input| Ok(tar::unpack(input, to)?),
    )
}
