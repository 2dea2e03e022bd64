//! One blob on its way from a registry into the store, over as many connections as it takes.

use std::io::Write;

use futures_util::StreamExt;
use stasis_oci::{Descriptor, Digest};
use stasis_store::{Adding, BlobWriter};

use crate::{
    blobs::Incoming,
    error::{Context, Error, Result},
    progress::{LayerProgress, Step},
    retry::Patience,
    runtime::beside,
    session::Session,
};

/// Sees to it that a blob is in the store.
///
/// What an earlier command has left of it is not fetched again, nor is what came before a
/// connection broke.
///
/// # Errors
/// [`Error::WrongDigest`] if it is not what its name says, [`Error::TooLarge`] as soon as it is
/// larger than its descriptor says; those of the connection and of the store.
pub async fn fetch(
    session: &Session,
    adding: &Adding,
    blob: &Descriptor,
    progress: &dyn LayerProgress,
) -> Result<()> {
    if adding.store().has_blob(&blob.digest) {
        progress.step(Step::Present);
        return Ok(());
    }
    let mut writer = begin(adding, &blob.digest).await?;
    // Another command may have brought it while we waited for the writer.
    if adding.store().has_blob(&blob.digest) {
        progress.step(Step::Present);
        return Ok(());
    }
    progress.step(Step::Moving);
    let is_resumed = writer.len_bytes() > 0;
    receive_all(session, &mut writer, blob, progress).await?;
    match finish(session, writer, blob).await {
        // What was left from earlier may have been damaged; it is gone now.
        Err(Error::WrongDigest { .. }) if is_resumed => {
            let mut writer = begin(adding, &blob.digest).await?;
            receive_all(session, &mut writer, blob, progress).await?;
            finish(session, writer, blob).await?;
        }
        finished => finished?,
    }
    progress.step(Step::Moved);
    Ok(())
}

/// Waits for other commands that fetch the same blob.
async fn begin(adding: &Adding, digest: &Digest) -> Result<BlobWriter> {
    let (adding, digest) = (adding.clone(), *digest);
    beside(move || Ok(adding.resume_blob(&digest)?)).await
}

async fn finish(session: &Session, writer: BlobWriter, blob: &Descriptor) -> Result<()> {
    let digest = blob.digest;
    let finished = beside(move || Ok(writer.finish(Some(&digest))?)).await;
    finished.map(drop).map_err(|error| match error {
        Error::Store(stasis_store::Error::WrongDigest { found, .. }) => {
            session.asked(&named(blob)).wrong_digest(&found)
        }
        error => error,
    })
}

async fn receive_all(
    session: &Session,
    writer: &mut BlobWriter,
    blob: &Descriptor,
    progress: &dyn LayerProgress,
) -> Result<()> {
    if writer.len_bytes() > blob.size {
        writer.start_over()?;
    }
    let mut patience = Patience::default();
    while writer.len_bytes() < blob.size {
        let before = writer.len_bytes();
        let Err(error) = receive(session, writer, blob, progress).await else { return Ok(()) };
        if writer.len_bytes() > before {
            patience.renew();
        }
        patience.endure(error).await?;
    }
    Ok(())
}

/// Receives what is missing over one connection.
async fn receive(
    session: &Session,
    writer: &mut BlobWriter,
    blob: &Descriptor,
    progress: &dyn LayerProgress,
) -> Result<()> {
    let from = writer.len_bytes();
    let incoming = session.authorized(async |blobs| blobs.fetch(&blob.digest, from).await).await?;
    let Incoming { from: begin, mut pieces } = incoming;
    if begin != from {
        writer.start_over()?;
    }
    while let Some(piece) = pieces.next().await.transpose()? {
        if writer.len_bytes() + piece.len() as u64 > blob.size {
            return Err(session.asked(&named(blob)).too_large(blob.size));
        }
        writer.write_all(&piece).context("write", named(blob))?;
        progress.at(writer.len_bytes());
    }
    if writer.len_bytes() < blob.size {
        let reason =
            format!("it ends {} after {} of {} bytes", named(blob), writer.len_bytes(), blob.size);
        let registry = session.repository().registry().to_owned();
        return Err(Error::Unreachable { registry, reason });
    }
    Ok(())
}

fn named(blob: &Descriptor) -> String {
    format!("the blob {}", blob.digest)
}
