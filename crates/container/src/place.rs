//! Unix sockets at paths that are too long for their address (unix(7)).

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::{Path, PathBuf},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
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

/// Listens on a unix socket at a path of any length.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn listen_at(path: &Path) -> Result<UnixListener> {
    let _ = fs::remove_file(path);
    let (_dir, short) = short_path(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("make", "a socket")?;
    let address = SocketAddrUnix::new(&short).context("name", path.display())?;
    bind(&socket, &address).context("bind", path.display())?;
    listen(&socket, 64).context("listen at", path.display())?;
    Ok(socket.into())
}
