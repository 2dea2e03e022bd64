//! One layer or configuration on its way from the store to a registry.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use stasis_oci::{Descriptor, Repository};
use stasis_store::ImageStore;

use crate::{
    blobs::Mounted,
    error::Result,
    progress::{LayerProgress, Step},
    retry::persistently,
    session::Session,
};

const PIECE_BYTES: usize = 256 << 10;

/// Tries to do without sending: the repository may have the blob, or another one of the registry.
///
/// # Errors
/// Those of the connection and of the registry.
pub async fn spare(
    session: &Session,
    blob: &Descriptor,
    from: Option<&Repository>,
    progress: &dyn LayerProgress,
) -> Result<Spared> {
    let digest = &blob.digest;
    let exists = async || session.authorized(async |blobs| blobs.exists(digest).await).await;
    if persistently(exists).await? {
        progress.step(Step::Present);
        return Ok(Spared::Yes);
    }
    let Some(from) = from else { return Ok(Spared::No) };
    let mount = async || session.authorized(async |blobs| blobs.mount(digest, from).await).await;
    match persistently(mount).await? {
        Mounted::Yes => {
            progress.step(Step::Mounted(from));
            Ok(Spared::Yes)
        }
        Mounted::No => Ok(Spared::No),
    }
}

/// Whether a blob need not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    Yes,
    No,
}

/// Sends a blob of the store, from its beginning if a connection breaks.
///
/// # Errors
/// Those of the connection, of the registry and of the store.
pub async fn send(
    session: &Session,
    store: &ImageStore,
    blob: &Descriptor,
    progress: &Arc<dyn LayerProgress>,
) -> Result<()> {
    progress.step(Step::Moving);
    let attempt = async || {
        session
            .authorized(async |blobs| {
                let file = store.open_blob(&blob.digest)?;
                blobs.send(&blob.digest, blob.size, pieces(file, progress.clone())).await
            })
            .await
    };
    persistently(attempt).await?;
    progress.step(Step::Moved);
    Ok(())
}

fn pieces(
    mut file: File,
    progress: Arc<dyn LayerProgress>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut done = 0;
    stream::iter(std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(count) => {
                done += count as u64;
                progress.at(done);
                Some(Ok(piece.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }))
}
