//! Paths that are too long for the address of a unix socket.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::error::{Context, Error, Result};

/// A short path to `path` that holds as long as the returned file is open.
///
/// # Errors
/// [`Error::Refused`] if the directory cannot be opened.
pub(crate) fn short_path(path: &Path) -> Result<(File, PathBuf)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::invalid(format!("{} cannot be a socket", path.display())));
    };
    let open = File::open(dir).context("open", dir.display())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name);
    Ok((open, short))
}
