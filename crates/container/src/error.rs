//! Why something about a container could not be done, sorted by what a caller can do about it.

use std::{fmt::Display, io};

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container by that name or id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// An id prefix that fits several containers.
    #[error("{0:?} fits more than one container: {1}")]
    Ambiguous(String, String),
    /// No checkpoint by that reference.
    #[error("no such checkpoint: {0}")]
    NoSuchCheckpoint(String),
    /// A name or an id prefix that fits several checkpoints.
    #[error("{0:?} fits more than one checkpoint: {1}")]
    AmbiguousCheckpoint(String, String),
    /// A container is just being restored from it.
    #[error("checkpoint {0} is in use: a container is just being restored from it")]
    CheckpointInUse(String),
    /// No volume by that name.
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    /// Containers have it, whether they run or not.
    #[error("volume {name} is in use by {users}")]
    VolumeInUse { name: String, users: String },
    /// The container is not in the state this needs.
    #[error("container {name} {reason}")]
    WrongState { name: String, reason: String },
    /// The user's words cannot be followed.
    #[error("{0}")]
    Invalid(String),
    /// The program could not be started; `code` is 126 or 127 as in a shell.
    #[error("{message}")]
    NotStarted { code: i32, message: String },
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    /// A file of ours does not hold what it should.
    #[error("{object} is damaged: {reason}")]
    Damaged { object: String, reason: String },
    #[error(transparent)]
    Images(#[from] stasis_store::Error),
    #[error(transparent)]
    Enclosure(#[from] stasis_enclosure::Error),
    #[error(transparent)]
    Network(#[from] stasis_network::Error),
    #[error(transparent)]
    Engine(#[from] stasis_engine::Error),
}

impl From<stasis_record::Error> for Error {
    fn from(error: stasis_record::Error) -> Error {
        match error {
            stasis_record::Error::Refused { action, object, source } => {
                Error::Refused { action, object, source }
            }
            stasis_record::Error::Damaged { object, reason } => Error::Damaged { object, reason },
        }
    }
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
