//! Why a text or document is not what it should be.

/// Errors of this room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a digest that we can check.
    #[error("{text:?} is not a digest: {reason}")]
    Digest { text: String, reason: &'static str },
    /// Not the name of an image.
    #[error("{text:?} is not a name of an image: {reason}")]
    Reference { text: String, reason: &'static str },
    /// Not a platform such as `linux/amd64`.
    #[error("{text:?} is not a platform: write OS/ARCHITECTURE[/VARIANT], such as linux/arm64")]
    Platform { text: String },
    /// A manifest, index or configuration that is garbled, too large, or of a kind we do not know.
    #[error("the {what} is refused: {reason}")]
    Document { what: &'static str, reason: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn document(what: &'static str, reason: impl ToString) -> Error {
        Error::Document { what, reason: reason.to_string() }
    }
}
