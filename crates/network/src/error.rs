//! Why something about a network could not be done, sorted by what a caller can do about it.

use std::{fmt::Display, io};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No network by that name or id.
    #[error("no such network: {0}")]
    NoSuchNetwork(String),
    /// An address, a port or a name that somebody else has.
    #[error("{what} is already in use by {holder}")]
    Taken { what: String, holder: String },
    /// Every address of a network is given away.
    #[error("network {0} has no free address left")]
    Exhausted(String),
    /// The user's words cannot be followed.
    #[error("{0}")]
    Invalid(String),
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    #[error(transparent)]
    Record(#[from] stasis_record::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Error {
        Error::Invalid(text.into())
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
