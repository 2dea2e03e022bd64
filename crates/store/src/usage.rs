//! How much images take on the disk.

use std::collections::BTreeSet;

use stasis_oci::Digest;

use crate::{ImageStore, error::Result, sweep::Contents};

/// Bytes on the disk: contents as they came, and unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub size_bytes: u64,
    /// Of these, what would be free if all images went that are not in use.
    pub reclaimable_bytes: u64,
}

impl ImageStore {
    /// What all images take; contents that they share are counted once.
    ///
    /// # Errors
    /// As reading the records fails.
    pub fn usage(&self, in_use: &BTreeSet<Digest>) -> Result<Usage> {
        let references = self.references()?;
        let mut all = Contents::default();
        let mut used = Contents::default();
        for (manifest, entry) in &references.images {
            // A damaged image is left out here, and told of by the check.
            let Ok(contents) = self.contents_of(manifest) else { continue };
            if in_use.contains(&entry.config) {
                used.add(contents.clone());
            }
            all.add(contents);
        }
        let size_bytes = self.size_of(&all);
        Ok(Usage { size_bytes, reclaimable_bytes: size_bytes - self.size_of(&used) })
    }

    /// What the stacks take that are kept without being images, as far as no image has them.
    ///
    /// # Errors
    /// As reading the records fails.
    pub fn usage_of_kept(&self) -> Result<u64> {
        let references = self.references()?;
        let all = self.needed(&references)?;
        let images =
            self.needed(&crate::references::References { kept: Default::default(), ..references })?;
        Ok(self.size_of(&all) - self.size_of(&images))
    }

    fn size_of(&self, contents: &Contents) -> u64 {
        let blob = |digest| self.layout.blob(digest).metadata().map_or(0, |meta| meta.len());
        let blobs: u64 = contents.blobs.iter().map(blob).sum();
        let layers = contents.layers.iter().filter_map(|chain| self.layer_size(chain));
        blobs + layers.sum::<u64>()
    }
}
