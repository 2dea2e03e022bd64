//! Why something about the surroundings of a tree could not be done.

use std::{fmt::Display, io};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a call on an object.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    /// A control group did not come to rest in time.
    #[error("control group {0} was not frozen within {1} seconds")]
    NotFrozen(String, u64),
    /// The host lacks something this needs.
    #[error("{0}")]
    Unsupported(String),
    /// An archive holds something that must not or cannot be unpacked.
    #[error("archive member {member:?} is refused: {reason}")]
    Archive { member: String, reason: String },
}

pub type Result<T> = std::result::Result<T, Error>;

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
