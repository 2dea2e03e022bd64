//! What can go wrong with a tracee.

use stasis_sys::Errno;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The task ended under our hands, which is ordinary.
    #[error("task {pid} ended while it was being worked on")]
    Died { pid: i32 },
    /// The kernel refused something that we asked for.
    #[error("{call} of task {pid}: {errno}")]
    Kernel { pid: i32, call: &'static str, errno: Errno },
    /// A file of `/proc` could not be read or understood.
    #[error("cannot read {path}: {reason}")]
    Proc { path: String, reason: String },
    /// The task does not stop.
    #[error("task {pid} does not stop within {seconds} s: {state}")]
    Stuck { pid: i32, seconds: u64, state: String },
    /// Our own mistake.
    #[error("internal error at task {pid}: {what}")]
    Bug { pid: i32, what: String },
}

impl Error {
    /// Wraps an error number; `ESRCH` means that the task is gone.
    pub(crate) fn at(pid: i32, call: &'static str) -> impl Fn(Errno) -> Error {
        move |errno| match errno {
            Errno::SRCH => Error::Died { pid },
            errno => Error::Kernel { pid, call, errno },
        }
    }
}
