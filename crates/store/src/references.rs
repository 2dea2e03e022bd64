//! Which images there are and what they are called: one record, replaced whole.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_oci::{Digest, Reference};

use crate::{
    ImageStore, disk,
    error::{Context, Result},
    layer::Layer,
};

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct References {
    /// Images by the digests of their manifests, with or without a name.
    pub images: BTreeMap<Digest, Entry>,
    /// By tag, and by digest for those that came from a registry, each to a manifest.
    pub names: BTreeMap<Reference, Digest>,
    /// Stacks of layers that are no images but shall stay, by a name that their owner chose.
    #[serde(default)]
    pub kept: BTreeMap<String, Vec<Layer>>,
    /// Layers that were compressed to be sent: from the digest here to what was sent.
    #[serde(default)]
    pub compressed: BTreeMap<Digest, stasis_oci::Descriptor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The image's id; several manifests may have the same.
    pub config: Digest,
    pub added: Timestamp,
}

impl References {
    /// All manifests of an image.
    pub fn manifests_of(&self, id: &Digest) -> BTreeSet<Digest> {
        let of_image = self.images.iter().filter(|(_, entry)| entry.config == *id);
        of_image.map(|(digest, _)| *digest).collect()
    }

    /// Takes records out.
    pub fn take_images(&mut self, manifests: &BTreeSet<Digest>) -> BTreeMap<Digest, Entry> {
        let take = |digest: &Digest| self.images.remove(digest).map(|entry| (*digest, entry));
        manifests.iter().filter_map(take).collect()
    }

    /// The same image in another form needs no record of its own if it has no name.
    pub fn forget_nameless_twins(&mut self, manifest: &Digest) {
        let Some(id) = self.images.get(manifest).map(|entry| entry.config) else { return };
        for twin in self.manifests_of(&id) {
            if twin != *manifest && !self.names.values().any(|named| *named == twin) {
                self.images.remove(&twin);
            }
        }
    }

    pub fn names_of(&self, manifests: &BTreeSet<Digest>) -> Vec<Reference> {
        let wanted = |(_, digest): &(&Reference, &Digest)| manifests.contains(digest);
        self.names.iter().filter(wanted).map(|(name, _)| name.clone()).collect()
    }
}

impl ImageStore {
    /// The record as it is now.
    pub(crate) fn references(&self) -> Result<References> {
        Ok(disk::read_record(&self.layout.references())?.unwrap_or_default())
    }

    /// Changes the record under its lock.
    pub(crate) fn update_references<T>(
        &self,
        change: impl FnOnce(&mut References) -> Result<T>,
    ) -> Result<T> {
        self.layout.make()?;
        let path = self.layout.references_lock();
        let lock = disk::open_lock(&path)?;
        lock.lock().context("lock", path.display())?;
        let before = self.references()?;
        let mut after = before.clone();
        let result = change(&mut after)?;
        if after != before {
            disk::write_record(&self.layout.references(), &after)?;
        }
        Ok(result)
    }
}
