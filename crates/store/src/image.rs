//! Finding and listing images.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stasis_oci::{ChainId, Descriptor, Digest, ImageConfig, Manifest, Reference};

use crate::{
    ImageStore,
    error::{Error, Result},
    layer::Layer,
    references::References,
};

/// One image: what its manifest and configuration say, and its names.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its configuration, by which people know it.
    pub id: Digest,
    pub manifest_digest: Digest,
    pub manifest: Manifest,
    pub config: ImageConfig,
    /// By tag and by digest, in order.
    pub names: Vec<Reference>,
    /// When it came here.
    pub added: Timestamp,
    /// What its layers take unpacked.
    pub size_bytes: u64,
}

impl Image {
    /// The twelve digits that people read.
    pub fn short_id(&self) -> String {
        self.id.short()
    }

    /// A name to speak of it: the first one, else the id.
    pub fn display_name(&self) -> String {
        self.names.first().map_or_else(|| self.short_id(), Reference::familiar)
    }

    /// Its layers, the lowest first.
    pub fn layers(&self) -> Vec<Layer> {
        layers(&self.manifest, &self.config)
    }

    /// The names of its layers as they are stacked, the lowest first.
    pub fn chain(&self) -> Vec<ChainId> {
        ChainId::all(&self.config.rootfs.diff_ids)
    }

    /// Names by tag, as `images` shows them.
    pub fn tags(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().filter(|name| name.tag().is_some())
    }

    /// Names by digest, of images that came from a registry or went to one.
    pub fn repo_digests(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().filter(|name| name.digest().is_some())
    }
}

pub(crate) fn layers(manifest: &Manifest, config: &ImageConfig) -> Vec<Layer> {
    let pair =
        |(blob, diff_id): (&Descriptor, &Digest)| Layer { blob: blob.clone(), diff_id: *diff_id };
    manifest.layers.iter().zip(&config.rootfs.diff_ids).map(pair).collect()
}

impl ImageStore {
    /// All images, the newest first. Manifests of the same configuration are one image. One that
    /// cannot be read is passed over: it must not stand in the way of the others, and
    /// [`ImageStore::check`] tells of it.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Damaged`] if the record of all images cannot be read.
    pub fn list(&self) -> Result<Vec<Image>> {
        let references = self.references()?;
        let mut first_of: BTreeMap<Digest, Digest> = BTreeMap::new();
        for (manifest, entry) in &references.images {
            first_of.entry(entry.config).or_insert(*manifest);
        }
        let mut images: Vec<Image> = first_of
            .values()
            .filter_map(|manifest| self.open(manifest, &references).ok())
            .collect();
        images.sort_by_key(|image| (std::cmp::Reverse(image.config.created), image.id));
        Ok(images)
    }

    /// Finds an image by name, by `sha256:` and digits or digits alone (its id, the beginning of it,
    /// or the digest of its manifest). A name goes before an id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] or [`Error::Ambiguous`].
    pub fn find(&self, key: &str) -> Result<Image> {
        let references = self.references()?;
        if let Some(digest) = by_name(&references, key) {
            return self.open(&digest, &references);
        }
        let hex = key.strip_prefix("sha256:").unwrap_or(key);
        let is_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        let mut found: Vec<Image> = match is_hex {
            true => self.list()?,
            false => Vec::new(),
        };
        found.retain(|image| image.id.hex().starts_with(hex) || image.manifest_digest.hex() == hex);
        match found.len() {
            0 => Err(Error::NoSuchImage(key.to_owned())),
            1 => Ok(found.swap_remove(0)),
            _ => {
                let names: Vec<String> = found.iter().map(Image::display_name).collect();
                Err(Error::Ambiguous(key.to_owned(), names.join(", ")))
            }
        }
    }

    /// Finds an image by its whole id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub fn find_id(&self, id: &Digest) -> Result<Image> {
        let found = self.list()?.into_iter().find(|image| image.id == *id);
        found.ok_or_else(|| Error::NoSuchImage(id.to_string()))
    }

    /// The image of a manifest, with all names that lead to the same configuration.
    pub(crate) fn open(&self, digest: &Digest, references: &References) -> Result<Image> {
        let (manifest, config) = self.read_image(digest)?;
        let id = manifest.config.digest;
        Ok(Image {
            id,
            manifest_digest: *digest,
            names: references.names_of(&references.manifests_of(&id)),
            added: references.images.get(digest).map_or_else(Timestamp::now, |entry| entry.added),
            size_bytes: self.size_bytes(&manifest, &config),
            manifest,
            config,
        })
    }

    pub(crate) fn read_image(&self, manifest: &Digest) -> Result<(Manifest, ImageConfig)> {
        let manifest = Manifest::parse(&self.read_document(manifest)?)?;
        let config = ImageConfig::parse(&self.read_document(&manifest.config.digest)?)?;
        Ok((manifest, config))
    }

    fn size_bytes(&self, manifest: &Manifest, config: &ImageConfig) -> u64 {
        let chain = ChainId::all(&config.rootfs.diff_ids);
        let unpacked = chain.iter().map(|chain| self.layer_size(chain));
        let stored = manifest.layers.iter().map(|layer| layer.size);
        unpacked.zip(stored).map(|(unpacked, stored)| unpacked.unwrap_or(stored)).sum()
    }
}

/// `name:tag@digest` is the digest's.
pub(crate) fn by_name(references: &References, key: &str) -> Option<Digest> {
    let name: Reference = key.parse().ok()?;
    let name = match name.digest() {
        Some(digest) => name.repository().with_digest(*digest),
        None => name,
    };
    references.names.get(&name).copied()
}
