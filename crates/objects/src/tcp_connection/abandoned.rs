//! Connections of a run that nobody goes on with, though it lies frozen.
//!
//! Their peers may wait for an answer and have nothing more to say; then they would wait for ever. What
//! tells them is a reset with the numbers of that run: older ones they ignore (RFC 5961, section 3.2).

use std::os::fd::{AsFd, BorrowedFd};

use stasis_model::InetSocket;
use stasis_sys::socket;

use super::{
    Ends, REPAIR_ON, TCP, segment, set_repair,
    thaw::{disconnect, take_place_of},
};
use crate::error::{Error, Result};

/// Tells the peer of a frozen connection that it is over.
///
/// It is told nothing from where the local address is not, or where the connection goes on.
///
/// # Errors
/// By the kernel.
pub fn abandon(inet: &InetSocket, namespace: BorrowedFd<'_>) -> Result<()> {
    let ends = Ends::of(inet)?;
    let what = &ends.to_string();
    let family = if ends.local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let made = segment::within(namespace, || {
        socket::create(family, libc::SOCK_STREAM, TCP).map_err(Error::at(what, "socket"))
    })?;
    set_repair(what, made.as_fd(), REPAIR_ON)?;
    // One that is not in its place ends in this mode, and so without a word.
    if take_place_of((inet, &ends), made.as_fd(), what)? {
        disconnect(what, made.as_fd())?;
    }
    Ok(())
}
