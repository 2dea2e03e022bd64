//! From the tar of a root file system to an image of one layer.

use std::io::{BufWriter, Read, Write};

use jiff::Timestamp;
use stasis_oci::{
    Descriptor, History, ImageConfig, Manifest, ManifestKind, Platform, Reference, RootFs,
    RunConfig, media_type,
};

use crate::{
    Image, ImageStore, compression,
    error::{Context, Result},
    layer::Progress,
};

const BUFFER_BYTES: usize = 256 << 10;

/// What an imported image is called and starts with.
#[derive(Clone, Debug)]
pub struct Import {
    pub names: Vec<Reference>,
    pub platform: Platform,
    pub config: RunConfig,
    pub message: String,
    pub created: Timestamp,
}

impl ImageStore {
    /// Makes an image of a tar, compressed or not, which becomes its only layer.
    ///
    /// # Errors
    /// [`crate::Error::Layer`] if the tar is refused; [`crate::Error::Refused`] by the stream or disk.
    pub fn import(
        &self,
        input: &mut (dyn Read + Send),
        import: Import,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let adding = self.begin()?;
        let (_, mut plain) = compression::decompressed(input).context("read", "the archive")?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, adding.new_blob()?);
        std::io::copy(&mut plain, &mut out).context("read", "the archive")?;
        out.flush().context("write", "the layer")?;
        let writer = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        let layer = writer.context("write", "the layer")?.finish(None)?;
        let history = History {
            created: Some(import.created),
            comment: import.message,
            ..History::default()
        };
        let config = ImageConfig {
            created: Some(import.created),
            architecture: import.platform.architecture,
            variant: import.platform.variant,
            os: import.platform.os,
            config: import.config,
            rootfs: RootFs::new(vec![layer.digest]),
            history: vec![history],
            ..ImageConfig::scratch()
        };
        let config = config.to_bytes();
        adding.add_bytes(&config)?;
        let layers = vec![Descriptor::new(media_type::OCI_LAYER, layer.digest, layer.size)];
        let config = Descriptor::of(media_type::OCI_CONFIG, &config);
        let manifest = Manifest::new(ManifestKind::Oci, config, layers).to_bytes();
        adding.add_image(&manifest, &import.names, progress)
    }
}
