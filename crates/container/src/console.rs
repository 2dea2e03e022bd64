//! The console of a program: a terminal whose master side the runtime library hands over, by a socket
//! that we name to it (`--console-socket` of runc).

use std::os::{fd::OwnedFd, unix::net::UnixListener};

use crate::{
    error::{Context, Error, Result},
    wire,
};

/// Takes the master side of a console from who connects (the runtime library's console socket).
///
/// # Errors
/// [`Error::Refused`] by the kernel, [`Error::Invalid`] if none came.
pub(crate) fn accept_console(listener: &UnixListener) -> Result<OwnedFd> {
    let (connection, _) = listener.accept().context("accept", "the console")?;
    let mut name = [0; 4096];
    let fds = wire::receive_raw(&connection, &mut name)?.map(|(_, fds)| fds).unwrap_or_default();
    fds.into_iter().next().ok_or_else(|| Error::invalid("the runtime gave no console"))
}
