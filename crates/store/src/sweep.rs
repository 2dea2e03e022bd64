//! Contents that nobody refers to, and how they go.
//!
//! Who adds holds `hold.lock` shared, so whoever gets it alone knows that nothing is on its way.
//! What is found then without a record is left over from a command that was cut off, or from an
//! image that was removed. A download may want to go on with the former, so it stays for a day.

use std::{
    collections::BTreeSet,
    fs::{self, DirEntry},
    path::Path,
    time::{Duration, SystemTime},
};

use stasis_oci::{ChainId, Digest};

use crate::{
    ImageStore, disk,
    error::{Context, Result},
    references::References,
};

const RESUMABLE_FOR: Duration = Duration::from_secs(24 * 3600);
/// Beginnings of names that are given to nothing finished.
const TEMPORARY: [&str; 2] = [".new-", ".gone-"];

/// What of the unused contents shall go.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// What no download can be expected to go on with.
    Old,
    /// That, and these.
    These(Contents),
    All,
}

/// Blobs and unpacked layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    pub blobs: BTreeSet<Digest>,
    pub layers: BTreeSet<ChainId>,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The lowest layer comes last.
    pub layers: Vec<ChainId>,
    pub blobs: Vec<Digest>,
    /// Room on the disk that is free now.
    pub size_bytes: u64,
}

impl ImageStore {
    /// Removes all contents that no image needs, also those that a download could go on with. Does
    /// nothing while another command adds images, or if an image is damaged.
    ///
    /// # Errors
    /// As reading and removing fails.
    pub fn sweep_all(&self) -> Result<Swept> {
        self.sweep(Reach::All)
    }

    pub(crate) fn sweep(&self, reach: Reach) -> Result<Swept> {
        let mut swept = Swept::default();
        if !self.layout.exists() {
            return Ok(swept);
        }
        let path = self.layout.hold_lock();
        let alone = disk::open_lock(&path)?;
        match alone.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Ok(swept),
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).context("lock", path.display());
            }
            Ok(()) => {}
        }
        // What a damaged image needs is not known, so nothing goes until it was removed.
        let Ok(needed) = self.needed(&self.references()?) else { return Ok(swept) };
        self.sweep_layers(&needed, &reach, &mut swept)?;
        self.sweep_blobs(&needed, &reach, &mut swept)?;
        self.sweep_partials(&reach, &mut swept)?;
        Ok(swept)
    }

    /// What images and the build cache refer to.
    pub(crate) fn needed(&self, references: &References) -> Result<Contents> {
        let mut needed = Contents::default();
        for manifest in references.images.keys() {
            needed.add(self.contents_of(manifest)?);
        }
        for stack in references.kept.values() {
            needed.blobs.extend(stack.iter().map(|layer| layer.blob.digest));
            let diff_ids: Vec<Digest> = stack.iter().map(|layer| layer.diff_id).collect();
            needed.layers.extend(ChainId::all(&diff_ids));
        }
        Ok(needed)
    }

    pub(crate) fn contents_of(&self, manifest_digest: &Digest) -> Result<Contents> {
        let (manifest, config) = self.read_image(manifest_digest)?;
        let layers = manifest.layers.iter().map(|layer| layer.digest);
        Ok(Contents {
            blobs: layers.chain([*manifest_digest, manifest.config.digest]).collect(),
            layers: ChainId::all(&config.rootfs.diff_ids).into_iter().collect(),
        })
    }

    fn sweep_layers(&self, needed: &Contents, reach: &Reach, swept: &mut Swept) -> Result<()> {
        for entry in entries(&self.layout.layers())? {
            let name = entry.file_name();
            let Some(chain) = ChainId::from_name(&name) else {
                if is_temporary(&entry) {
                    remove_dir(&entry.path())?;
                }
                continue;
            };
            let is_meant = match reach {
                Reach::Old => is_old(&entry),
                Reach::These(these) => these.layers.contains(&chain) || is_old(&entry),
                Reach::All => true,
            };
            if is_meant && !needed.layers.contains(&chain) {
                swept.size_bytes += self.layer_size(&chain).unwrap_or(0);
                self.remove_layer(&chain)?;
                swept.layers.push(chain);
            }
        }
        Ok(())
    }

    /// Under another name first, so that there is never half a layer under its own.
    pub(crate) fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        let path = self.layout.layer(chain);
        let gone = self.layout.layers().join(format!(".gone-{}", chain.hex()));
        if gone.exists() {
            remove_dir(&gone)?;
        }
        fs::rename(&path, &gone).context("remove", path.display())?;
        remove_dir(&gone)
    }

    fn sweep_blobs(&self, needed: &Contents, reach: &Reach, swept: &mut Swept) -> Result<()> {
        for entry in entries(&self.layout.blobs())? {
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|hex| Digest::from_hex(hex).ok()) else {
                continue;
            };
            let is_meant = match reach {
                Reach::Old => is_old(&entry),
                Reach::These(these) => these.blobs.contains(&digest) || is_old(&entry),
                Reach::All => true,
            };
            if is_meant && !needed.blobs.contains(&digest) {
                swept.size_bytes += remove_file(&entry)?;
                swept.blobs.push(digest);
            }
        }
        Ok(())
    }

    fn sweep_partials(&self, reach: &Reach, swept: &mut Swept) -> Result<()> {
        let beside_record = entries(self.layout.dir())?.into_iter().filter(is_temporary);
        for entry in entries(&self.layout.partials())?.into_iter().chain(beside_record) {
            if is_temporary(&entry) || is_old(&entry) || matches!(reach, Reach::All) {
                swept.size_bytes += remove_file(&entry)?;
            }
        }
        Ok(())
    }
}

impl Contents {
    pub fn add(&mut self, more: Contents) {
        self.blobs.extend(more.blobs);
        self.layers.extend(more.layers);
    }
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    let read = || -> std::io::Result<Vec<DirEntry>> { fs::read_dir(dir)?.collect() };
    read().context("read", dir.display())
}

fn is_temporary(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    name.to_str().is_some_and(|name| TEMPORARY.iter().any(|prefix| name.starts_with(prefix)))
}

/// A clock that was set back makes nothing old.
fn is_old(entry: &DirEntry) -> bool {
    let modified = entry.metadata().and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > RESUMABLE_FOR)
}

fn remove_dir(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).context("remove", dir.display())
}

fn remove_file(entry: &DirEntry) -> Result<u64> {
    let size = entry.metadata().map_or(0, |meta| meta.len());
    fs::remove_file(entry.path()).context("remove", entry.path().display())?;
    Ok(size)
}
