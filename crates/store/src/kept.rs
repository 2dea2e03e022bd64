//! Stacks of layers that are no images but shall stay, such as those of a build cache.

use std::collections::BTreeMap;

use crate::{ImageStore, error::Result, layer::Layer};

impl ImageStore {
    /// Lets a stack of layers stay, the lowest first, under a name that the caller chooses; what had
    /// that name before is replaced. Made for caches: a stack is not an image, and has no name.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn keep_layers(&self, name: &str, layers: &[Layer]) -> Result<()> {
        self.update_references(|references| {
            references.kept.insert(name.to_owned(), layers.to_vec());
            Ok(())
        })
    }

    /// The stacks that are kept, by name.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Damaged`] if the references cannot be read.
    pub fn kept_layers(&self) -> Result<BTreeMap<String, Vec<Layer>>> {
        Ok(self.references()?.kept)
    }

    /// Forgets kept stacks whose names are not wanted; their contents go with the next sweep.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn retain_layers(&self, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
        self.update_references(|references| {
            references.kept.retain(|name, _| is_wanted(name));
            Ok(())
        })
    }
}
