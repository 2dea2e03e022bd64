//! What can be wrong with checkpoint files.

use std::{fmt, io, path::PathBuf};

use stasis_model::Invalid;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} checkpoint file {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// A file that must be there is not.
    #[error("checkpoint file {file} is missing ({needed_for})")]
    Missing { file: String, needed_for: String },
    /// The contents are not what the file's name promises.
    #[error("checkpoint file {file}{}: {reason}", At(*record, field))]
    Corrupt {
        file: String,
        /// Counted from 1.
        record: Option<usize>,
        field: Option<&'static str>,
        reason: String,
    },
    /// A checkpoint of another program holds something that cannot be restored.
    #[error("{object}: {reason}")]
    Unsupported { object: String, reason: String },
    /// The tree holds something that checkpoint files cannot.
    #[error("{object} cannot be written into a checkpoint: {reason}")]
    Unwritable { object: String, reason: String },
    /// The files contradict each other.
    #[error("the checkpoint contradicts itself: {0}")]
    Invalid(#[from] Invalid),
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn unsupported(object: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Unsupported { object: object.into(), reason: reason.into() }
    }

    pub(crate) fn unwritable(object: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Unwritable { object: object.into(), reason: reason.into() }
    }
}

/// A place in a checkpoint file, for errors about what stands there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub file: &'a str,
    /// Counted from 1.
    pub record: usize,
}

impl<'a> Place<'a> {
    pub fn new(file: &'a str, record: usize) -> Self {
        Place { file, record }
    }

    /// The field is not what it must be.
    pub fn field(self, field: &'static str, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            file: self.file.into(),
            record: Some(self.record),
            field: Some(field),
            reason: reason.into(),
        }
    }

    /// The value of an optional field that is needed.
    pub fn need<T>(self, value: Option<T>, field: &'static str) -> Result<T> {
        value.ok_or_else(|| self.field(field, "is missing"))
    }
}

struct At<'a>(Option<usize>, &'a Option<&'static str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.0 {
            write!(f, ", record {record}")?;
        }
        match self.1 {
            Some(field) => write!(f, ", field {field}"),
            None => Ok(()),
        }
    }
}
