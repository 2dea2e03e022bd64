//! Layers as lower directories of an overlay: each stack is unpacked once and shared.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicU64,
    thread,
};

use serde::{Deserialize, Serialize};
use stasis_enclosure::tar;
use stasis_oci::{ChainId, Descriptor, Digest};
use tempfile::TempDir;

use crate::{
    ImageStore,
    compression::{self, Compression},
    disk,
    error::{Context, Error, Result},
    image::Image,
    layer_record::{Age, FS, LayerRecord, Standing},
    read_ahead::{self, Counted, Reached, Wanted},
};

/// One layer: what is stored, and the digest of the tar in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub blob: Descriptor,
    pub diff_id: Digest,
}

/// Is told how long work goes on.
pub trait Progress {
    /// A layer is begun; `len_bytes` of it are to be read.
    fn begin(&mut self, _layer: &Digest, _len_bytes: u64) {}
    /// So many bytes of the layer that was begun are read.
    fn at(&mut self, _bytes: u64) {}
    /// The layer that was begun is unpacked.
    fn end(&mut self) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

impl ImageStore {
    /// The lower directories of an image, the topmost first, as overlayfs wants them. Layers that
    /// are not unpacked yet are unpacked now.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer that is refused, [`Error::NoSuchBlob`] for one that is missing.
    pub fn lower_dirs(&self, image: &Image, progress: &mut dyn Progress) -> Result<Vec<PathBuf>> {
        self.lower_dirs_of(&image.layers(), progress)
    }

    /// As [`ImageStore::lower_dirs`], for a stack that is no image yet, the lowest layer first.
    ///
    /// # Errors
    /// As [`ImageStore::lower_dirs`].
    pub fn lower_dirs_of(
        &self,
        layers: &[Layer],
        progress: &mut dyn Progress,
    ) -> Result<Vec<PathBuf>> {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let chain = ChainId::all(&diff_ids);
        let dirs: Vec<PathBuf> = chain.iter().map(|chain| self.layer_dir(chain)).collect();
        let standings: Vec<Standing> = chain.iter().map(|chain| self.standing(chain)).collect();
        if standings.contains(&Standing::Absent) {
            self.unpack_missing(layers, &chain, &dirs, progress)?;
        } else if standings.contains(&Standing::InMemory(Age::WrittenBack)) {
            self.settle_layers(&chain)?;
        }
        Ok(dirs.into_iter().rev().collect())
    }

    /// Unpacks beside, and gives the names when every digest is right.
    fn unpack_missing(
        &self,
        layers: &[Layer],
        chain: &[ChainId],
        dirs: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let _hold = self.hold()?;
        let mut now: Vec<PathBuf> = Vec::with_capacity(layers.len());
        let mut fresh: Vec<(TempDir, ChainId)> = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            if self.standing(&chain[at]) != Standing::Absent {
                now.push(dirs[at].clone());
                continue;
            }
            let below = at.checked_sub(1).map(|below| chain[below].hex());
            let beside = self.unpack(layer, below, &now, progress)?;
            now.push(beside.path().join(FS));
            fresh.push((beside, chain[at]));
        }
        fresh.into_iter().try_for_each(|(beside, chain)| self.give_name(beside, &chain))
    }

    /// What an earlier boot has left of the layer goes.
    fn give_name(&self, beside: TempDir, chain: &ChainId) -> Result<()> {
        let lock = self.layout.layers_lock();
        let alone = disk::open_lock(&lock)?;
        alone.lock().context("lock", lock.display())?;
        if self.standing(chain) != Standing::Absent {
            // Somebody else has unpacked the same meanwhile.
            return Ok(());
        }
        let path = self.layout.layer(chain);
        if path.exists() {
            self.remove_layer(chain)?;
        }
        fs::rename(beside.path(), &path).context("make", path.display())?;
        drop(beside.keep());
        Ok(())
    }

    fn standing(&self, chain: &ChainId) -> Standing {
        Standing::probe(&self.layout.layer(chain))
    }

    /// Waits until all unpacked layers are on disk, so that they need not be unpacked anew should this
    /// boot end.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn settle(&self) -> Result<()> {
        if !self.layout.exists() {
            return Ok(());
        }
        let layers = self.layout.layers();
        let names = fs::read_dir(&layers).context("read", layers.display())?.flatten();
        let chains: Vec<ChainId> =
            names.filter_map(|entry| ChainId::from_name(&entry.file_name())).collect();
        let is_in_memory = |chain: &ChainId| matches!(self.standing(chain), Standing::InMemory(_));
        if chains.iter().any(is_in_memory) { self.settle_layers(&chains) } else { Ok(()) }
    }

    fn settle_layers(&self, chains: &[ChainId]) -> Result<()> {
        let _hold = self.hold()?;
        let in_memory: Vec<PathBuf> = chains
            .iter()
            .filter(|chain| matches!(self.standing(chain), Standing::InMemory(_)))
            .map(|chain| self.layout.layer(chain))
            .collect();
        disk::sync_file_system(&self.layout.layers())?;
        for layer in in_memory {
            if let Some(record) = LayerRecord::read(&layer)? {
                record.settle(&layer)?;
            }
        }
        Ok(())
    }

    fn layer_dir(&self, chain: &ChainId) -> PathBuf {
        self.layout.layer(chain).join(FS)
    }

    /// Where the lower directories of an image are, the topmost first, be they unpacked or not.
    pub fn lower_dir_paths(&self, image: &Image) -> Vec<PathBuf> {
        image.chain().iter().rev().map(|chain| self.layer_dir(chain)).collect()
    }

    /// What each layer of an image takes unpacked, the lowest first.
    pub fn layer_sizes(&self, image: &Image) -> Vec<u64> {
        let stored = image.manifest.layers.iter().map(|layer| layer.size);
        let unpacked = image.chain().into_iter().map(|chain| self.layer_size(&chain));
        unpacked.zip(stored).map(|(unpacked, stored)| unpacked.unwrap_or(stored)).collect()
    }

    /// What an unpacked layer takes.
    pub(crate) fn layer_size(&self, chain: &ChainId) -> Option<u64> {
        let record = LayerRecord::read(&self.layout.layer(chain));
        record.ok().flatten().map(|record| record.size_bytes)
    }

    fn unpack(
        &self,
        layer: &Layer,
        below: Option<String>,
        dirs_below: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<TempDir> {
        let dir = self.layout.layers();
        let beside = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&dir)
            .context("make a directory in", dir.display())?;
        let fs_dir = beside.path().join(FS);
        DirBuilder::new().mode(0o755).create(&fs_dir).context("make", fs_dir.display())?;
        progress.begin(&layer.blob.digest, layer.blob.size);
        let size_bytes = self
            .unpack_into(layer, &fs_dir, dirs_below, progress)
            .map_err(|error| Error::Layer { digest: layer.blob.digest, source: Box::new(error) })?;
        progress.end();
        let boot = Some(stasis_record::boot_id());
        let record = LayerRecord { diff_id: layer.diff_id, below, size_bytes, boot };
        record.write_new(beside.path())?;
        Ok(beside)
    }

    fn unpack_into(
        &self,
        layer: &Layer,
        target: &Path,
        below: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<u64> {
        let read = AtomicU64::new(0);
        let blob = Counted { input: self.open_blob(&layer.blob.digest)?, read: &read };
        let (compression, plain) = compression::decompressed(blob).context("read", "it")?;
        let digest = match compression {
            Compression::None => Wanted::Known(layer.blob.digest),
            Compression::Gzip | Compression::Zstd => Wanted::Computed,
        };
        let max_bytes = self.bounds.max_bytes_of(layer.blob.size);
        let (filling, mut ahead, hashing) =
            read_ahead::round((plain, digest), max_bytes, &read, progress);
        let limits = tar::Layer { below, max_members: self.bounds.max_members };
        let (unpacked, rest, ends) = thread::scope(|scope| {
            let filling = scope.spawn(|| filling.run());
            let hashing = scope.spawn(|| hashing.run());
            let unpacked = tar::unpack_layer(&mut ahead, target, limits);
            // What follows the end of the archive belongs to the digest too.
            let rest = unpacked.is_ok().then(|| io::copy(&mut ahead, &mut io::sink()));
            drop(ahead);
            (unpacked, rest, (filling.join(), hashing.join()))
        });
        let size_bytes = unpacked?.size_bytes;
        rest.transpose().context("read", "what follows the archive")?;
        match ends {
            (Ok(Reached::End), Ok(found)) if found == layer.diff_id => Ok(size_bytes),
            (Ok(Reached::End), Ok(found)) => {
                Err(Error::WrongDigest { expected: layer.diff_id, found })
            }
            _ => Err(Error::Invalid("it was not read to its end".into())),
        }
    }
}
