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
    ImageStore, compression, disk,
    error::{Context, Error, Result},
    image::Image,
    read_ahead::{self, Counted},
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

/// Holds the directory tree of an unpacked layer.
pub(crate) const FS: &str = "fs";

/// What is known of an unpacked layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub diff_id: Digest,
    pub below: Option<String>,
    pub size_bytes: u64,
}

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
        if !dirs.iter().all(|dir| dir.is_dir()) {
            self.unpack_missing(layers, &chain, &dirs, progress)?;
        }
        Ok(dirs.into_iter().rev().collect())
    }

    /// Unpacks beside, and gives the names when all is on disk and every digest is right.
    fn unpack_missing(
        &self,
        layers: &[Layer],
        chain: &[ChainId],
        dirs: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let _hold = self.hold()?;
        let mut now: Vec<PathBuf> = Vec::with_capacity(layers.len());
        let mut fresh: Vec<(TempDir, PathBuf)> = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            if dirs[at].is_dir() {
                now.push(dirs[at].clone());
                continue;
            }
            let below = at.checked_sub(1).map(|below| chain[below].hex());
            let beside = self.unpack(layer, below, &now, progress)?;
            now.push(beside.path().join(FS));
            fresh.push((beside, self.layout.layer(&chain[at])));
        }
        disk::sync_file_system(&self.layout.layers())?;
        for (beside, path) in fresh {
            match fs::rename(beside.path(), &path) {
                Ok(()) => drop(beside.keep()),
                // Somebody else has unpacked the same meanwhile.
                Err(_) if path.is_dir() => {}
                Err(error) => return Err(error).context("make", path.display()),
            }
        }
        disk::sync_dir(&self.layout.layers())
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
        let record = disk::read_record(&self.layout.layer(chain).join("layer.json"));
        record.ok().flatten().map(|record: LayerRecord| record.size_bytes)
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
        let record = LayerRecord { diff_id: layer.diff_id, below, size_bytes };
        // Synced with everything else, before the layer has its name.
        disk::write_new(&beside.path().join("layer.json"), &record)?;
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
        let (_, plain) = compression::decompressed(blob).context("read", "it")?;
        let max_bytes = self.bounds.max_bytes_of(layer.blob.size);
        let (reader, mut ahead) = read_ahead::pair(plain, max_bytes, &read, progress);
        let limits = tar::Layer { below, max_members: self.bounds.max_members };
        let (unpacked, outcome) = thread::scope(|scope| {
            let reader = scope.spawn(|| reader.run());
            let unpacked = tar::unpack_layer(&mut ahead, target, limits);
            // What follows the end of the archive belongs to the digest too.
            let rest = unpacked.is_ok().then(|| io::copy(&mut ahead, &mut io::sink()));
            drop(ahead);
            let outcome = reader.join().ok().flatten();
            (unpacked, rest.transpose().map(|_| outcome))
        });
        let size_bytes = unpacked?.size_bytes;
        match outcome.context("read", "what follows the archive")? {
            Some(found) if found.digest == layer.diff_id => Ok(size_bytes),
            Some(found) => Err(Error::WrongDigest { expected: layer.diff_id, found: found.digest }),
            None => Err(Error::Invalid("it was not read to its end".into())),
        }
    }
}
