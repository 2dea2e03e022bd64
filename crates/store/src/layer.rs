//! Layers as lower directories of an overlay: each stack is unpacked once and shared.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stasis_enclosure::rootfs_diff;
use stasis_oci::{ChainId, Descriptor, Digest, Hasher};

use crate::{
    ImageStore, compression, disk,
    error::{Context, Error, Result},
    image::Image,
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
            let _hold = self.hold()?;
            for (at, layer) in layers.iter().enumerate() {
                if !dirs[at].is_dir() {
                    self.unpack(layer, &chain[..=at], &dirs[..at], progress)?;
                }
            }
        }
        Ok(dirs.into_iter().rev().collect())
    }

    fn layer_dir(&self, chain: &ChainId) -> PathBuf {
        self.layout.layer(chain).join("fs")
    }

    /// What an unpacked layer takes.
    pub(crate) fn layer_size(&self, chain: &ChainId) -> Option<u64> {
        let record = disk::read_record(&self.layout.layer(chain).join("layer.json"));
        record.ok().flatten().map(|record: LayerRecord| record.size_bytes)
    }

    /// Unpacks beside, and gives the name when all is on disk and the digest is right.
    fn unpack(
        &self,
        layer: &Layer,
        chain: &[ChainId],
        below: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let dir = self.layout.layers();
        let beside = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&dir)
            .context("make a directory in", dir.display())?;
        let refused = |error| Error::Layer { digest: layer.blob.digest, source: Box::new(error) };
        let fs_dir = beside.path().join("fs");
        fs::create_dir(&fs_dir).context("make directory", fs_dir.display())?;
        progress.begin(&layer.blob.digest, layer.blob.size);
        let size_bytes = self.unpack_into(layer, &fs_dir, below, progress).map_err(refused)?;
        let record = LayerRecord {
            diff_id: layer.diff_id,
            below: chain.iter().nth_back(1).map(ChainId::hex),
            size_bytes,
        };
        disk::write_record(&beside.path().join("layer.json"), &record)?;
        disk::sync_file_system(&dir)?;
        let path = self.layout.layer(&chain[chain.len() - 1]);
        match fs::rename(beside.path(), &path) {
            Ok(()) => drop(beside.keep()),
            // Somebody else has unpacked the same meanwhile.
            Err(_) if path.is_dir() => {}
            Err(error) => return Err(error).context("make", path.display()),
        }
        progress.end();
        disk::sync_dir(&dir)
    }

    fn unpack_into(
        &self,
        layer: &Layer,
        target: &Path,
        below: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<u64> {
        let blob = Counted { input: self.open_blob(&layer.blob.digest)?, bytes: 0 };
        let (_, plain) = compression::decompressed(blob).context("read", "it")?;
        let mut tar = Hashed { input: plain, hasher: Hasher::default() };
        let size_bytes = rootfs_diff::unpack_layer(&mut tar, target, below)?;
        let found = tar.finish().context("read", "it")?;
        progress.at(layer.blob.size);
        if found != layer.diff_id {
            return Err(Error::WrongDigest { expected: layer.diff_id, found });
        }
        Ok(size_bytes)
    }
}

struct Counted<R> {
    input: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Computes the digest of what is read through it.
struct Hashed<R> {
    input: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

impl<R: Read> Hashed<R> {
    /// Reads what follows the archive's end, which belongs to the digest too.
    fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish())
    }
}
