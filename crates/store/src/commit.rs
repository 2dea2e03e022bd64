//! From the upper directory of an overlay to a layer.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

use stasis_enclosure::tar::{self, Form};
use stasis_oci::{Descriptor, media_type};

use crate::{
    Adding,
    error::{Context, Result},
    layer::Layer,
};

/// A tar without members.
const END_OF_ARCHIVE_BYTES: u64 = 1024;
const WRITE_BYTES: usize = 256 << 10;

impl Layer {
    /// Does it change nothing? Then an image is better off without it.
    pub fn is_empty(&self) -> bool {
        self.blob.media_type == media_type::OCI_LAYER && self.blob.size <= END_OF_ARCHIVE_BYTES
    }
}

impl Adding {
    /// Packs the upper directory of an overlay as a layer, which is stored as it is, without
    /// compression: whiteouts, opaque directories, hard links, extended attributes, holes and times
    /// in nanoseconds are kept, and the same content gives the same digest.
    ///
    /// Nobody may change the directory meanwhile.
    ///
    /// # Errors
    /// [`crate::Error::Enclosure`] naming the file that could not be read, or that a layer cannot hold.
    pub fn commit_layer(&self, upper: &Path) -> Result<Layer> {
        let mut out = BufWriter::with_capacity(WRITE_BYTES, self.new_blob()?);
        tar::pack(upper, Form::Layer, &mut out)?;
        out.flush().context("write", "a layer")?;
        let writer = out.into_inner().map_err(|error| error.into_error()).context("write", "it")?;
        let blob = writer.finish(None)?;
        let descriptor = Descriptor::new(media_type::OCI_LAYER, blob.digest, blob.size);
        Ok(Layer { blob: descriptor, diff_id: blob.digest })
    }
}
