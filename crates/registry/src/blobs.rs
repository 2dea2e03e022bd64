//! Blobs of one repository, through `oci-client`: is it there, fetch it from some byte on, take it
//! over from another repository, send it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use oci_client::{
    Reference, RegistryOperation,
    client::BlobResponse,
    errors::OciDistributionError,
    secrets::RegistryAuth,
    token_cache::{RegistryToken, RegistryTokenType},
};
use stasis_oci::{Digest, Repository};

use crate::{
    authorization::Authorization,
    error::Result,
    failure::{Asked, Shown},
};

/// Pieces of a blob as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes>>>>;

/// A blob on its way to us.
pub struct Incoming {
    /// Where it begins: not every registry can begin in the middle.
    pub from: u64,
    pub pieces: Pieces,
}

/// Whether a blob of another repository is in this one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    Yes,
    No,
}

pub struct Blobs {
    client: oci_client::Client,
    image: Reference,
    registry: String,
    shown: Shown,
}

impl Blobs {
    pub fn new(client: oci_client::Client, repository: &Repository, shown: Shown) -> Blobs {
        let registry = repository.registry().to_owned();
        Blobs { client, image: reference(repository), registry, shown }
    }

    /// Shows this from now on.
    pub async fn authorize(&self, authorization: &Authorization) {
        let (auth, token) = match authorization {
            Authorization::Nothing => return,
            Authorization::Basic { user, password } => (
                RegistryAuth::Basic(user.clone(), password.clone()),
                RegistryTokenType::Basic(user.clone(), password.clone()),
            ),
            Authorization::Bearer(token) => (
                RegistryAuth::Bearer(token.clone()),
                RegistryTokenType::Bearer(RegistryToken::Token { token: token.clone() }),
            ),
        };
        self.client.store_auth_if_needed(self.image.resolve_registry(), &auth).await;
        for operation in [RegistryOperation::Pull, RegistryOperation::Push] {
            self.client.tokens.insert(&self.image, operation, token.clone()).await;
        }
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// Those of the connection and of the registry.
    pub async fn exists(&self, digest: &Digest) -> Result<bool> {
        let object = format!("the blob {digest}");
        let answer = self.client.blob_exists(&self.image, &digest.to_string()).await;
        answer.map_err(|error| self.asked(&object).of_client(error))
    }

    /// Takes a blob over from another repository of the registry, if it can be done.
    ///
    /// # Errors
    /// Those of the connection. A registry that does not want to is no error.
    pub async fn mount(&self, digest: &Digest, from: &Repository) -> Result<Mounted> {
        let object = format!("the blob {digest}");
        let source = reference(from);
        match self.client.mount_blob(&self.image, &source, &digest.to_string()).await {
            Ok(()) => Ok(Mounted::Yes),
            Err(OciDistributionError::RequestError(error)) => {
                Err(self.asked(&object).broken(&error))
            }
            Err(error) => {
                tracing::debug!(%error, %digest, %from, "not mounted");
                Ok(Mounted::No)
            }
        }
    }

    /// Begins to fetch a blob at the byte `from`.
    ///
    /// # Errors
    /// Those of the connection and of the registry, from the pieces as well.
    pub async fn fetch(&self, digest: &Digest, from: u64) -> Result<Incoming> {
        let object = format!("the blob {digest}");
        let name = digest.to_string();
        // What comes is hashed where it is written; asking for a part keeps the client from doing
        // it a second time.
        let answer = self.client.pull_blob_stream_partial(&self.image, name.as_str(), from, None);
        let answer = answer.await.map_err(|error| self.asked(&object).of_client(error))?;
        let (from, stream) = match answer {
            BlobResponse::Full(stream) => (0, stream),
            BlobResponse::Partial(stream) => (from, stream),
        };
        let (registry, shown) = (self.registry.clone(), self.shown);
        let pieces = stream.map_err(move |error| {
            Asked { registry: &registry, object: &object, shown }.unreachable(&error)
        });
        Ok(Incoming { from, pieces: pieces.boxed_local() })
    }

    /// Sends a blob.
    ///
    /// # Errors
    /// Those of the connection and of the registry, and of the pieces.
    pub async fn send(
        &self,
        digest: &Digest,
        size: u64,
        pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let object = format!("the blob {digest}");
        let pieces = pieces.map_err(OciDistributionError::IoError);
        let name = digest.to_string();
        let sent = self.client.push_blob_stream(&self.image, pieces, &name, Some(size)).await;
        sent.map(drop).map_err(|error| self.asked(&object).of_client(error))
    }

    fn asked<'a>(&'a self, object: &'a str) -> Asked<'a> {
        Asked { registry: &self.registry, object, shown: self.shown }
    }
}

/// A repository in the client's words; the tag is not used for blobs.
fn reference(repository: &Repository) -> Reference {
    let (registry, path) = (repository.registry().to_owned(), repository.path().to_owned());
    Reference::with_tag(registry, path, "latest".to_owned())
}
