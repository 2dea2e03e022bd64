//! Answers of sock_diag(7) about unix sockets, as raw netlink messages.

use std::collections::HashMap;

use crate::{Result, malformed};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSocket {
    pub inode: u32,
    pub socket_type: u8,
    /// The kernel's TCP state numbers.
    pub state: u8,
    /// Raw bytes of `sun_path`; empty if unbound.
    pub name: Vec<u8>,
    /// Inode of the peer; 0 if the peer has no descriptor any more, or not yet.
    pub peer: Option<u32>,
    /// Clients whose connections to this listening socket wait to be accepted.
    pub waiting_clients: Vec<u32>,
    /// For a listening socket: connections that wait, and its backlog.
    pub queues: (u32, u32),
    pub shutdown: u8,
}

/// The request for all unix sockets with everything that the kernel tells of them.
pub fn request() -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST_DUMP: u16 = 0x301;
    const UNIX: u8 = 1;
    const ALL: u32 = 1 | 2 | 4 | 8 | 16;
    let mut message = Vec::new();
    message.extend_from_slice(&40u32.to_ne_bytes());
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence, port
    message.extend_from_slice(&[UNIX, 0, 0, 0]);
    message.extend_from_slice(&u32::MAX.to_ne_bytes()); // all states
    message.extend_from_slice(&0u32.to_ne_bytes()); // any inode
    message.extend_from_slice(&ALL.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // cookie
    message
}

/// Adds the sockets of one received buffer; `false` once the answer is complete.
pub fn parse(mut buffer: &[u8], sockets: &mut HashMap<u32, UnixSocket>) -> Result<bool> {
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    while !buffer.is_empty() {
        let bad = || malformed("sock_diag answer", buffer);
        let len = word(buffer, 0).ok_or_else(bad)? as usize;
        let kind = half(buffer, 4).ok_or_else(bad)?;
        if kind == DONE {
            return Ok(false);
        }
        let message = buffer.get(16..len).ok_or_else(bad)?;
        if kind == ERROR {
            return Err(bad());
        }
        let socket = one(message).ok_or_else(bad)?;
        sockets.insert(socket.inode, socket);
        buffer = buffer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn one(message: &[u8]) -> Option<UnixSocket> {
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const ICONS: u16 = 3;
    const RQLEN: u16 = 4;
    const SHUTDOWN: u16 = 6;
    let mut socket = UnixSocket {
        socket_type: *message.get(1)?,
        state: *message.get(2)?,
        inode: word(message, 4)?,
        ..UnixSocket::default()
    };
    let mut rest = message.get(16..)?;
    while rest.len() >= 4 {
        let (len, kind) = (usize::from(half(rest, 0)?), half(rest, 2)?);
        let value = rest.get(4..len)?;
        match kind {
            NAME => socket.name = value.to_vec(),
            PEER => socket.peer = Some(word(value, 0)?),
            ICONS => {
                socket.waiting_clients = value.chunks_exact(4).filter_map(|c| word(c, 0)).collect()
            }
            RQLEN => socket.queues = (word(value, 0)?, word(value, 4)?),
            SHUTDOWN => socket.shutdown = *value.first()?,
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![1, 1, 10, 0];
        body.extend_from_slice(&77u32.to_ne_bytes());
        body.extend_from_slice(&[0; 8]);
        for (kind, value) in attributes {
            body.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut whole = (body.len() as u32 + 16).to_ne_bytes().to_vec();
        whole.extend_from_slice(&20u16.to_ne_bytes());
        whole.extend_from_slice(&[0; 10]);
        whole.extend(body);
        whole
    }

    #[test]
    fn a_listening_socket() {
        let mut sockets = HashMap::new();
        let buffer =
            message(&[(0, b"\0abc"), (3, &9u32.to_ne_bytes()), (4, &[1, 0, 0, 0, 5, 0, 0, 0])]);
        assert_eq!(parse(&buffer, &mut sockets), Ok(true));
        let socket = &sockets[&77];
        assert_eq!((socket.state, socket.name.as_slice()), (10, &b"\0abc"[..]));
        assert_eq!((&socket.waiting_clients[..], socket.queues), (&[9][..], (1, 5)));
    }

    #[test]
    fn cut_answers_are_errors() {
        let buffer = message(&[(0, b"/tmp/x\0")]);
        for len in 1..buffer.len() - 1 {
            assert!(parse(&buffer[..len], &mut HashMap::new()).is_err(), "{len}");
        }
    }
}
