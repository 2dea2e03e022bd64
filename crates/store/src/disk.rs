//! Where everything lies, and writing that leaves the old or the new, never half.

use std::{
    fs::{self, DirBuilder, File},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use stasis_oci::{ChainId, Digest};

use crate::error::{Context, Error, Result};

/// The paths below `<root>/images`.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub fn new(dir: PathBuf) -> Layout {
        Layout { dir }
    }

    /// Makes the directories, which only root can look into: images may hold secrets.
    pub fn make(&self) -> Result<()> {
        [self.blobs(), self.partials(), self.layers()].iter().try_for_each(|dir| make_dir(dir))
    }

    pub fn exists(&self) -> bool {
        self.layers().is_dir()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn partials(&self) -> PathBuf {
        self.dir.join("partial")
    }

    pub fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(digest.hex())
    }

    pub fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    pub fn layer(&self, chain: &ChainId) -> PathBuf {
        self.layers().join(chain.hex())
    }

    pub fn references(&self) -> PathBuf {
        self.dir.join("references.json")
    }

    /// Held for a short read-modify-write of the references.
    pub fn references_lock(&self) -> PathBuf {
        self.dir.join("references.lock")
    }

    /// Held while a layer gets its name.
    pub fn layers_lock(&self) -> PathBuf {
        self.dir.join("layers.lock")
    }

    pub fn hold_lock(&self) -> PathBuf {
        self.dir.join("hold.lock")
    }
}

/// Makes a directory that only root can look into, with its parents.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .context("make directory", dir.display())
}

pub(crate) fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .context("open", path.display())
}

/// Reads a record; `None` if there is none.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.context("read", path.display())?,
    };
    record_of(path, &text).map(Some)
}

/// The record in the text of a file.
pub(crate) fn record_of<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| Error::damaged(path.display(), error))
}

/// Writes a record that nobody looks for yet.
pub(crate) fn write_new<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let text = text_of(path, record)?;
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&text)).context("write", path.display())
}

/// Replaces a record: written beside, synced, renamed.
pub(crate) fn write_record<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    replace(path, record, File::sync_all)?;
    sync_dir(dir_of(path))
}

/// Replaces a record that may get lost in a power cut.
pub(crate) fn replace_in_memory<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    replace(path, record, |_| Ok(()))
}

fn replace<T: Serialize>(
    path: &Path,
    record: &T,
    sync: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result<()> {
    let text = text_of(path, record)?;
    let write = || -> std::io::Result<()> {
        let mut beside = tempfile::Builder::new().prefix(".new-").tempfile_in(dir_of(path))?;
        beside.write_all(&text)?;
        sync(beside.as_file())?;
        beside.persist(path)?;
        Ok(())
    };
    write().context("write", path.display())
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn text_of<T: Serialize>(path: &Path, record: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(record).map_err(|error| Error::damaged(path.display(), error))
}

/// Makes names in a directory survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).context("sync", dir.display())
}

/// Makes everything on the file system of `dir` survive a power cut.
pub(crate) fn sync_file_system(dir: &Path) -> Result<()> {
    let dir_file = File::open(dir).context("open", dir.display())?;
    rustix::fs::syncfs(&dir_file).context("sync", dir.display())
}

/// Reads to the end; `None` if that is further away than `max_bytes`.
pub(crate) fn read_bounded(
    input: &mut dyn Read,
    max_bytes: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    input.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max_bytes).then_some(bytes))
}
