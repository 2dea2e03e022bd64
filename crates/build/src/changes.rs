//! The root file system of a stage while a step changes it: an overlay whose upper directory becomes a
//! layer.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, Uid};
use stasis_enclosure::{
    mount,
    overlay::{Overlay, Upper},
};
use stasis_store::{Adding, Layer};

use crate::{
    error::{Context, Result},
    workplace::{MOUNTED, Workplace},
};

/// What a step changes on top of layers.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The topmost first.
    lower: Vec<PathBuf>,
    dir: PathBuf,
}

impl Changes {
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn begin(workplace: &Workplace, mut lower: Vec<PathBuf>) -> Result<Changes> {
        let dir = workplace.make_dir("changes")?;
        if lower.is_empty() {
            lower.push(make_root(&dir.join("nothing"), None)?);
        }
        make_root(&dir.join("upper"), lower.first().map(PathBuf::as_path))?;
        Ok(Changes { lower, dir })
    }

    /// Mounts the tree where nobody else sees it.
    ///
    /// # Errors
    /// [`crate::Error::Enclosure`] by the kernel.
    pub fn mount(&self) -> Result<OwnedFd> {
        Ok(self.overlay(self.lower.clone()).mount()?)
    }

    /// Mounts the tree in the file system, with one more layer of mount points under the changes.
    ///
    /// # Errors
    /// [`crate::Error::Enclosure`] by the kernel.
    pub fn mount_with(&self, mount_points: &Path) -> Result<Mounted> {
        let lower = [&[mount_points.to_owned()], self.lower.as_slice()].concat();
        Mounted::at(self.dir.join(MOUNTED), &self.overlay(lower))
    }

    /// Another overlay on the same layers, whose changes make a layer of mount points.
    ///
    /// # Errors
    /// [`crate::Error::Enclosure`] by the kernel.
    pub fn mount_points(&self, make: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<PathBuf> {
        let dir = make_root(&self.dir.join("points"), self.lower.first().map(PathBuf::as_path))?;
        let upper = Upper { dir: dir.clone(), work: self.dir.join("points-work") };
        make(&Overlay { lower: self.lower.clone(), upper: Some(upper) }.mount()?)?;
        Ok(dir)
    }

    /// Makes a layer of the changes; nothing if there are none.
    ///
    /// # Errors
    /// [`crate::Error::Store`] naming the file that a layer cannot hold.
    pub fn commit(self, adding: &Adding) -> Result<Option<Layer>> {
        let layer = adding.commit_layer(&self.upper())?;
        Ok((!layer.is_empty()).then_some(layer))
    }

    fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    fn overlay(&self, lower: Vec<PathBuf>) -> Overlay {
        let upper = Upper { dir: self.upper(), work: self.dir.join("work") };
        Overlay { lower, upper: Some(upper) }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // What is left is taken away with the workplace.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The root of an overlay looks like that of its topmost layer.
fn make_root(dir: &Path, like: Option<&Path>) -> Result<PathBuf> {
    fs::create_dir(dir).context("make directory", dir.display())?;
    let mode = match like {
        None => 0o755,
        Some(like) => {
            let meta = fs::metadata(like).context("look at", like.display())?;
            let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
            rustix::fs::chown(dir, Some(uid), Some(gid))
                .context("set the owner of", dir.display())?;
            meta.mode() & 0o7777
        }
    };
    rustix::fs::chmod(dir, mode.into()).context("set the mode of", dir.display())?;
    Ok(dir.to_owned())
}

/// A tree that others see too, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// # Errors
    /// [`crate::Error::Enclosure`] by the kernel.
    pub fn at(path: PathBuf, overlay: &Overlay) -> Result<Mounted> {
        overlay.mount_at(&path)?;
        Ok(Mounted { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = mount::unmount_all(&self.path) {
            tracing::warn!("cannot clean up after a step: {error}");
        }
    }
}
