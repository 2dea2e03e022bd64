//! Adding images: contents first, in any order, then the image at once.

use std::io::Write;

use jiff::Timestamp;
use stasis_oci::{Descriptor, Digest, ImageConfig, MAX_DOCUMENT_BYTES, Manifest, Reference};

use crate::{
    Hold, ImageStore,
    blob::{Blob, BlobWriter},
    error::{Context, Error, Result},
    image::{self, Image},
    layer::Progress,
    references::Entry,
};

/// Adds contents to a store. As long as it lives, none of them is swept.
#[derive(Clone, Debug)]
pub struct Adding {
    store: ImageStore,
    hold: Hold,
}

impl Adding {
    pub(crate) fn new(store: ImageStore, hold: Hold) -> Adding {
        Adding { store, hold }
    }

    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Begins a content whose digest is not known yet.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn new_blob(&self) -> Result<BlobWriter> {
        BlobWriter::unnamed(&self.store.layout, self.hold.clone())
    }

    /// Begins a content, or goes on where an earlier command was cut off: see
    /// [`BlobWriter::len_bytes`]. Waits for other commands that write the same content; look for it
    /// with [`ImageStore::has_blob`] afterwards.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn resume_blob(&self, digest: &Digest) -> Result<BlobWriter> {
        BlobWriter::resumable(&self.store.layout, self.hold.clone(), digest)
    }

    /// Adds a content that is at hand, such as a configuration.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<Blob> {
        let digest = Digest::of(bytes);
        let blob = Blob { digest, size: bytes.len() as u64 };
        if self.store.has_blob(&digest) {
            return Ok(blob);
        }
        let mut writer = self.new_blob()?;
        let written = writer.write_all(bytes);
        written.context("write", digest)?;
        writer.finish(Some(&digest))
    }

    /// Makes an image of contents that are here: its layers are unpacked and verified, then it gets
    /// its names, which other images lose. Without names it is there by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] if a content is missing, [`Error::Layer`] if a layer is refused,
    /// [`Error::Invalid`] or [`Error::Oci`] if manifest and configuration do not fit together.
    pub fn add_image(
        &self,
        manifest: &[u8],
        names: &[Reference],
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let parsed = Manifest::parse(manifest)?;
        self.check_contents(&parsed)?;
        let config = ImageConfig::parse(&self.store.read_document(&parsed.config.digest)?)?;
        if parsed.layers.len() != config.rootfs.diff_ids.len() {
            return Err(Error::Invalid(format!(
                "the manifest has {} layers, the configuration {}",
                parsed.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        self.store.lower_dirs_of(&image::layers(&parsed, &config), progress)?;
        let digest = self.add_bytes(manifest)?.digest;
        crate::disk::sync_dir(&self.store.layout.blobs())?;
        let references = self.store.update_references(|references| {
            let entry = Entry { config: parsed.config.digest, added: Timestamp::now() };
            references.images.entry(digest).or_insert(entry);
            references.names.extend(names.iter().map(|name| (name.clone(), digest)));
            references.forget_nameless_twins(&digest);
            Ok(references.clone())
        })?;
        self.store.open(&digest, &references)
    }

    fn check_contents(&self, manifest: &Manifest) -> Result<()> {
        if manifest.config.size > MAX_DOCUMENT_BYTES as u64 {
            return Err(Error::Invalid("the configuration of the image is too large".into()));
        }
        std::iter::once(&manifest.config).chain(&manifest.layers).try_for_each(|content| {
            let found = self.store.open_blob(&content.digest)?.metadata();
            let found = found.context("look at", content.digest)?;
            if found.len() == content.size {
                return Ok(());
            }
            Err(Error::Invalid(format!(
                "the content {} has {} bytes, the manifest says {}",
                content.digest,
                found.len(),
                content.size
            )))
        })
    }

    /// Notes that a layer was sent in another form, so that it need not be compressed again.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn remember_compressed(&self, layer: &Digest, sent: &Descriptor) -> Result<()> {
        self.store.update_references(|references| {
            references.compressed.insert(*layer, sent.clone());
            Ok(())
        })
    }
}

impl ImageStore {
    /// In which form a layer was sent before.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Damaged`] if the references cannot be read.
    pub fn compressed_form(&self, layer: &Digest) -> Result<Option<Descriptor>> {
        Ok(self.references()?.compressed.get(layer).cloned())
    }

    /// Gives an image one more name; another image loses it.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] if the image was removed meanwhile.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<()> {
        self.update_references(|references| {
            if !references.images.contains_key(&image.manifest_digest) {
                return Err(Error::NoSuchImage(image.display_name()));
            }
            references.names.insert(name.clone(), image.manifest_digest);
            Ok(())
        })
    }
}
