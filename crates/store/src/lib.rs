//! Images on disk.
//!
//! Below `<root>/images`:
//!
//! | path | holds |
//! |---|---|
//! | `blobs/sha256/HEX` | manifests, configurations and layers, as they came, by digest |
//! | `partial/HEX` | the beginning of a layer whose download was cut off; the next one goes on |
//! | `layers/CHAIN-ID/fs` | a layer unpacked as a lower directory of an overlay |
//! | `layers/CHAIN-ID/layer.json` | which layer that is, its size, and which boot wrote it until it is on disk |
//! | `references.json` | which images there are and what they are called; replaced whole |
//! | `hold.lock` | shared by who adds or uses contents that no record names yet |
//!
//! Contents become images in one moment, when `references.json` is replaced; a command that is cut
//! off before leaves contents that nobody refers to. They are swept by later commands, those that a
//! new download can use only after a day.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adding;
mod archive;
mod blob;
mod bounds;
mod check;
mod commit;
mod compression;
mod disk;
mod error;
mod image;
mod kept;
mod layer;
mod layer_record;
mod read_ahead;
mod references;
mod removal;
mod sweep;
#[cfg(test)]
mod tests;
mod usage;

use std::{fs::File, path::Path, sync::Arc};

use stasis_oci::Digest;

pub use adding::Adding;
pub use archive::{Format, Import, Saving};
pub use blob::{Blob, BlobWriter};
pub use bounds::Bounds;
pub use check::Fault;
pub use compression::{Compression, decompressed};
pub use error::{Error, Result};
pub use image::Image;
pub use layer::{Layer, Progress, Silent};
pub use removal::{AskUsers, Force, Removed, User, Users};
pub use sweep::Swept;
pub use usage::Usage;

use crate::{disk::Layout, error::Context};

/// All images of one engine.
#[derive(Clone, Debug)]
pub struct ImageStore {
    layout: Layout,
    bounds: Bounds,
}

/// Contents that are there now stay as long as this value lives, also if no image refers to them.
///
/// Take it before an image is looked up that shall be used, and keep it until a container's record
/// names the image.
#[derive(Clone, Debug)]
pub struct Hold(#[allow(dead_code)] Arc<File>);

impl ImageStore {
    /// The images below `<root>/images`; nothing is made before something is added.
    pub fn new(root: &Path) -> ImageStore {
        ImageStore { layout: Layout::new(root.join("images")), bounds: Bounds::default() }
    }

    /// The same images; layers that are unpacked may hold so much.
    pub fn with_bounds(self, bounds: Bounds) -> ImageStore {
        ImageStore { bounds, ..self }
    }

    /// Keeps contents from being swept.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn hold(&self) -> Result<Hold> {
        self.layout.make()?;
        let path = self.layout.hold_lock();
        let file = disk::open_lock(&path)?;
        file.lock_shared().context("lock", path.display())?;
        Ok(Hold(Arc::new(file)))
    }

    /// Begins to add contents. What was left behind by commands that were cut off is swept before.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn begin(&self) -> Result<Adding> {
        self.sweep(sweep::Reach::Old)?;
        Ok(Adding::new(self.clone(), self.hold()?))
    }

    /// Is this content here, whole?
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.layout.blob(digest).is_file()
    }

    /// Opens a content for reading. It was verified when it was added.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] if it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.layout.blob(digest);
        File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoSuchBlob(*digest),
            _ => Error::Refused { action: "open", object: path.display().to_string(), source },
        })
    }

    /// Reads a manifest or configuration, and verifies it.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`], [`Error::WrongDigest`] if the disk has changed it, or
    /// [`Error::Damaged`] if it is too large for a document.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut file = self.open_blob(digest)?;
        let bytes = disk::read_bounded(&mut file, stasis_oci::MAX_DOCUMENT_BYTES)
            .context("read", digest)?
            .ok_or_else(|| Error::damaged(digest, "it is too large for a document"))?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::WrongDigest { expected: *digest, found });
        }
        Ok(bytes)
    }
}
