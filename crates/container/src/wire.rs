//! Messages between our own processes: JSON in packets on a unix socket (unix(7)), with descriptors.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
    socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Context, Error, Result};

const MAX_MESSAGE_BYTES: usize = 128 << 10;
const MAX_FDS: usize = 8;

/// Makes two ends that talk to each other; both are closed by execve(2).
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("make", "a pair of sockets")
}

/// Sends one message.
///
/// # Errors
/// [`Error::Refused`], with `EPIPE` if the other side is gone.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize) -> Result<()> {
    send_with_fds(socket, message, &[])
}

/// As [`send`], with descriptors.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_with_fds(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = serde_json::to_vec(message)
        .map_err(|error| Error::invalid(format!("cannot encode a message: {error}")))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        .context("send", "a message")
        .map(|_| ())
}

/// Receives one message; `None` if the other side is gone.
///
/// # Errors
/// [`Error::Refused`] by the kernel, [`Error::Damaged`] for what is not such a message.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<T>> {
    Ok(receive_with_fds(socket)?.map(|(message, _)| message))
}

/// As [`receive`], with the descriptors that came along.
///
/// # Errors
/// As [`receive`].
pub(crate) fn receive_with_fds<T: DeserializeOwned>(
    socket: impl AsFd,
) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let Some((len, fds)) = receive_raw(socket, &mut bytes)? else { return Ok(None) };
    let message = serde_json::from_slice(&bytes[..len]).map_err(|error| Error::Damaged {
        object: "a message".into(),
        reason: error.to_string(),
    })?;
    Ok(Some((message, fds)))
}

/// Receives bytes and descriptors; `None` if the other side is gone.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn receive_raw(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags)
    });
    let received = match received {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        other => other.context("receive", "a message")?,
    };
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Error::Damaged { object: "a message".into(), reason: "it is too long".into() });
    }
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((received.bytes > 0 || !fds.is_empty()).then_some((received.bytes, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_and_descriptors() {
        let (a, b) = pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        send_with_fds(&a, &"one", &[null.as_fd()]).unwrap();
        send(&a, &2).unwrap();
        drop(a);
        let (text, fds) = receive_with_fds::<String>(&b).unwrap().unwrap();
        assert_eq!((text.as_str(), fds.len()), ("one", 1));
        assert_eq!(receive::<i32>(&b).unwrap(), Some(2));
        assert_eq!(receive::<i32>(&b).unwrap(), None);
    }
}
