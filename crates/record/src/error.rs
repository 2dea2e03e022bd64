//! Why a record could not be read or written.

use std::{fmt::Display, io};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    /// The file does not hold what it should.
    #[error("{object} is damaged: {reason}")]
    Damaged { object: String, reason: String },
}

pub type Result<T> = std::result::Result<T, Error>;

/// Adds to a system call's error what was tried on which object.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, object: impl Display) -> Result<T> {
        self.map_err(|source| Error::Refused { action, object: object.to_string(), source })
    }
}
