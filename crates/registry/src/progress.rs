//! Whoever wants to see how far an image is on its way.

use std::{collections::BTreeMap, sync::Arc};

use stasis_oci::{Digest, Repository};
use stasis_store::Layer;

/// Is told which layers an image has.
pub trait Progress: Sync {
    /// A layer of `size_bytes` bytes is about to be moved.
    fn layer(&self, digest: &Digest, size_bytes: u64) -> Arc<dyn LayerProgress>;
}

/// Is told what becomes of one layer.
pub trait LayerProgress: Send + Sync {
    fn step(&self, step: Step<'_>);
    /// So many bytes are done of the present step.
    fn at(&self, bytes: u64);
}

/// What becomes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// It waits for its turn.
    Waiting,
    /// It is where it shall be.
    Present,
    /// Another repository of the registry had it.
    Mounted(&'a Repository),
    Compressing,
    /// It comes or goes.
    Moving,
    Moved,
    Unpacking,
    Unpacked,
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Silent {
    pub(crate) fn shared() -> Arc<dyn LayerProgress> {
        Arc::new(Silent)
    }
}

impl Progress for Silent {
    fn layer(&self, _digest: &Digest, _size_bytes: u64) -> Arc<dyn LayerProgress> {
        Silent::shared()
    }
}

impl LayerProgress for Silent {
    fn step(&self, _step: Step<'_>) {}
    fn at(&self, _bytes: u64) {}
}

/// Whom to tell about which layer, by the digest of what is stored.
pub(crate) struct Lines(BTreeMap<Digest, Arc<dyn LayerProgress>>);

impl Lines {
    /// `shown` is the digest by which users know a layer.
    pub fn new(
        layers: &[Layer],
        shown: impl Fn(&Layer) -> Digest,
        progress: &dyn Progress,
    ) -> Lines {
        let mut lines = Lines(BTreeMap::new());
        for layer in layers {
            lines.0.entry(layer.blob.digest).or_insert_with(|| {
                let line = progress.layer(&shown(layer), layer.blob.size);
                line.step(Step::Waiting);
                line
            });
        }
        lines
    }

    pub fn of(&self, layer: &Digest) -> &Arc<dyn LayerProgress> {
        &self.0[layer]
    }
}
