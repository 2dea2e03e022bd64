//! What the OCI image-spec and Docker's image formats know: names, digests, platforms, manifests,
//! indexes and configurations. Pure: bytes and texts in, values out.
//!
//! Documents are read from bytes that may be hostile, so each has a bound ([`MAX_DOCUMENT_BYTES`],
//! [`MAX_LAYERS`]). A document that came from elsewhere is passed on as the bytes it came in, never
//! as what we would write: its digest is its name.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chain;
mod config;
mod descriptor;
mod digest;
mod error;
mod manifest;
mod platform;
mod reference;

pub use chain::ChainId;
pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use descriptor::{Descriptor, media_type};
pub use digest::{Digest, Hasher};
pub use error::{Error, Result};
pub use manifest::{Document, Index, Manifest, ManifestKind};
pub use platform::Platform;
pub use reference::{Reference, Repository, Tag};

/// No manifest, index or configuration may be larger.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// No image may have more layers: the kernel stacks so many lower directories of an overlay.
pub const MAX_LAYERS: usize = 500;

/// Refuses a document that is too large before anything of it is parsed.
fn check_size(what: &'static str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let reason = format!("it has {} bytes, {MAX_DOCUMENT_BYTES} are allowed", bytes.len());
        return Err(Error::Document { what, reason });
    }
    Ok(())
}

/// Go writes a list or map that is not there as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
