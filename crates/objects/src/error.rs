//! What can go wrong with a kernel object.

use stasis_sys::Errno;
use stasis_tracee::Error as TraceeError;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tracee(#[from] TraceeError),
    /// The kernel refused something about an object, which is named in the user's words.
    #[error("{object}: {call}: {errno}")]
    Kernel { object: String, call: &'static str, errno: Errno },
    /// Something that must be as it was is not.
    #[error("{object}: {reason}")]
    Changed { object: String, reason: String },
    /// Page or file contents could not be moved.
    #[error("{object}: {source}")]
    Content { object: String, source: std::io::Error },
    #[error("{object}: {reason}")]
    Unsupported { object: String, reason: String },
}

impl Error {
    /// Wraps an error number for an object.
    pub fn at<E: IntoErrno>(
        object: impl Into<String>,
        call: &'static str,
    ) -> impl FnOnce(E) -> Error {
        let object = object.into();
        move |error| Error::Kernel { object, call, errno: error.into_errno() }
    }
}

/// The error types of system calls that we meet.
pub trait IntoErrno {
    fn into_errno(self) -> Errno;
}

impl IntoErrno for Errno {
    fn into_errno(self) -> Errno {
        self
    }
}

impl IntoErrno for rustix::io::Errno {
    fn into_errno(self) -> Errno {
        Errno(self.raw_os_error())
    }
}

impl IntoErrno for std::io::Error {
    fn into_errno(self) -> Errno {
        self.into()
    }
}
