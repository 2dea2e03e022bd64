//! Why something about images could not be done, sorted by what a caller can do about it.

use std::{fmt::Display, io};

use stasis_oci::Digest;

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image by that name or id.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// The beginning of an id that several images have.
    #[error("{0:?} fits more than one image: {1}")]
    Ambiguous(String, String),
    /// Something stands in the way of a removal.
    #[error("image {image} cannot be removed: {reason}")]
    InUse { image: String, reason: String },
    /// A content that is needed is not here.
    #[error("the content {0} is missing")]
    NoSuchBlob(Digest),
    /// A content is not what its name says.
    #[error("the content has the digest {found}, expected was {expected}")]
    WrongDigest { expected: Digest, found: Digest },
    /// A layer that cannot be unpacked.
    #[error("layer {digest} is refused: {source}")]
    Layer { digest: Digest, source: Box<Error> },
    /// A document or archive that does not fit together.
    #[error("{0}")]
    Invalid(String),
    /// A file of ours does not hold what it should.
    #[error("{object} is damaged: {reason}")]
    Damaged { object: String, reason: String },
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    #[error(transparent)]
    Oci(#[from] stasis_oci::Error),
    #[error(transparent)]
    Enclosure(#[from] stasis_enclosure::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn damaged(object: impl Display, reason: impl Display) -> Error {
        Error::Damaged { object: object.to_string(), reason: reason.to_string() }
    }
}

/// Adds to a kernel error what was tried on which object.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T> {
        self.map_err(|error| Error::Refused {
            action,
            object: object.to_string(),
            source: error.into(),
        })
    }
}
