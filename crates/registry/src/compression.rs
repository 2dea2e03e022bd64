//! Layers that are stored plain travel compressed.
//!
//! The same layer always becomes the same bytes, so that a registry that has them already can say
//! so: no times, no names, fixed levels, one thread.

use std::{
    fs::File,
    io::{self, BufReader, Write},
};

use stasis_oci::{Descriptor, ManifestKind, media_type};
use stasis_store::{Adding, Blob, Layer};

use crate::{
    error::{Context, Error, Result},
    progress::LayerProgress,
};

const READ_BYTES: usize = 256 << 10;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// How layers travel that are stored plain. Layers that are stored compressed stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    Gzip,
    Zstd,
    /// As they are stored.
    Plain,
}

/// Whether a layer is stored plain.
pub fn is_plain(layer: &Layer) -> bool {
    matches!(layer.blob.media_type.as_str(), media_type::OCI_LAYER | media_type::DOCKER_LAYER)
}

/// What a compressed layer is called in a manifest of this kind.
///
/// # Errors
/// [`Error::Invalid`] if such manifests have no word for it.
pub fn media_type_of(compression: Compression, kind: ManifestKind) -> Result<&'static str> {
    match (compression, kind) {
        (Compression::Gzip, ManifestKind::Oci) => Ok(media_type::OCI_LAYER_GZIP),
        (Compression::Gzip, ManifestKind::Docker) => Ok(media_type::DOCKER_LAYER_GZIP),
        (Compression::Zstd, ManifestKind::Oci) => Ok(media_type::OCI_LAYER_ZSTD),
        (Compression::Plain, ManifestKind::Oci) => Ok(media_type::OCI_LAYER),
        (Compression::Plain, ManifestKind::Docker) => Ok(media_type::DOCKER_LAYER),
        (Compression::Zstd, ManifestKind::Docker) => Err(Error::Invalid(
            "this image is in Docker's format, whose layers cannot be compressed with zstd".into(),
        )),
    }
}

/// Compresses a layer into the store, which remembers the outcome.
///
/// # Errors
/// Those of the store.
pub fn compress(
    adding: &Adding,
    layer: &Layer,
    compression: Compression,
    media_type: &str,
    progress: &dyn LayerProgress,
) -> Result<Descriptor> {
    let input = adding.store().open_blob(&layer.blob.digest)?;
    let input = BufReader::with_capacity(READ_BYTES, Counted { input, bytes: 0, progress });
    let output = adding.new_blob()?;
    let blob = match compression {
        Compression::Gzip => gzip(input, output),
        Compression::Zstd => zstd(input, output),
        Compression::Plain => return Ok(layer.blob.clone()),
    };
    let Blob { digest, size } = blob.context("compress", layer.blob.digest)?.finish(None)?;
    let form = Descriptor::new(media_type, digest, size);
    adding.remember_compressed(&layer.blob.digest, &form)?;
    Ok(form)
}

fn gzip<W: Write>(mut input: impl io::Read, output: W) -> io::Result<W> {
    let level = flate2::Compression::new(GZIP_LEVEL);
    let mut encoder = flate2::GzBuilder::new().mtime(0).write(output, level);
    io::copy(&mut input, &mut encoder)?;
    encoder.finish()
}

fn zstd<W: Write>(mut input: impl io::Read, output: W) -> io::Result<W> {
    let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
    io::copy(&mut input, &mut encoder)?;
    encoder.finish()
}

/// Tells how much was read through it.
struct Counted<'a> {
    input: File,
    bytes: u64,
    progress: &'a dyn LayerProgress,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        self.progress.at(self.bytes);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_same_bytes_become_the_same_bytes() {
        let plain = b"a layer".repeat(10_000);
        let gzipped = gzip(&plain[..], Vec::new()).unwrap();
        assert_eq!(gzipped, gzip(&plain[..], Vec::new()).unwrap());
        let zipped = zstd(&plain[..], Vec::new()).unwrap();
        assert_eq!(zipped, zstd(&plain[..], Vec::new()).unwrap());
        assert!(gzipped.len().max(zipped.len()) < plain.len() / 10);
    }

    #[test]
    fn others_can_read_it() {
        let plain = b"a layer".repeat(1000);
        let mut read = Vec::new();
        let gzipped = gzip(&plain[..], Vec::new()).unwrap();
        flate2::read::GzDecoder::new(&gzipped[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
        let zipped = zstd(&plain[..], Vec::new()).unwrap();
        assert_eq!(::zstd::decode_all(&zipped[..]).unwrap(), plain);
    }
}
