//! Why an image could not be built, sorted by what a caller can do about it.

use std::{error::Error as StdError, fmt::Display, io};

use stasis_dockerfile::Place;

const MAKE_ROOM: &str =
    "make room: stasis builder prune and stasis system prune free what is not used";

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Dockerfile, or the file that names what does not take part, is not as it should be.
    #[error("{file}:{}: {}", error.place, error.what)]
    Text { file: String, error: stasis_dockerfile::Error },
    /// An instruction could not be followed.
    #[error("{file}:{place}: {text}: {source}")]
    Step { file: String, place: Place, text: String, source: Box<Error> },
    /// What the user asks for cannot be done.
    #[error("{what}")]
    Invalid { what: String, hint: Option<String> },
    /// The command of a `RUN` failed.
    #[error("the command ended with exit code {code}")]
    Exit { code: i32 },
    /// A command failed, and there is no room for its files.
    #[error("No space left on device: the disk of {0} is full")]
    DiskFull(String),
    /// The user broke the build off.
    #[error("the build was interrupted")]
    Interrupted,
    /// What lies outside, such as a registry, did not deliver.
    #[error(transparent)]
    Outside(Box<dyn StdError + Send + Sync>),
    /// A system call failed.
    #[error("cannot {action} {object}: {source}")]
    Refused { action: &'static str, object: String, source: io::Error },
    #[error(transparent)]
    Store(#[from] stasis_store::Error),
    #[error(transparent)]
    Container(#[from] stasis_container::Error),
    #[error(transparent)]
    Enclosure(#[from] stasis_enclosure::Error),
    #[error(transparent)]
    Oci(#[from] stasis_oci::Error),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Error {
        match self {
            Error::Invalid { what, .. } => Error::Invalid { what, hint: Some(hint.into()) },
            other => other,
        }
    }

    /// What the user can do about it.
    pub fn advice(&self) -> Option<String> {
        match self {
            Error::Text { error, .. } => error.hint.clone(),
            Error::Step { source, .. } => source.advice(),
            Error::Invalid { hint, .. } => hint.clone(),
            Error::Exit { code: 127 } => {
                Some("the program was not found: is it in the image, and in its PATH?".into())
            }
            Error::Exit { .. } => Some(
                "its output stands above; to look around, build the steps before it with \
                 --target, or put `|| true` behind the command, and run the image"
                    .into(),
            ),
            Error::DiskFull(_) => Some(MAKE_ROOM.into()),
            Error::Refused { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(MAKE_ROOM.into())
            }
            _ => None,
        }
    }

    pub fn is_interrupt(&self) -> bool {
        match self {
            Error::Step { source, .. } => source.is_interrupt(),
            other => matches!(other, Error::Interrupted),
        }
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
