//! What a socket in repair mode is told before its connection goes on: where the queues begin, what was
//! agreed upon, and what is in the queues.

use std::{
    fs::File,
    os::{fd::BorrowedFd, unix::fs::FileExt},
};

use rustix::net::{SendFlags, send};
use stasis_model::{SocketOptions, TcpConnection};
use stasis_sys::socket;

use super::{Phase, Queue, REPAIR_OFF_SILENTLY, REPAIR_ON, SOCKET, TCP, choose, set_repair};
use crate::{
    content::StoredQueues,
    error::{Error, Result},
};

const CHUNK_BYTES: usize = 32 << 10;

/// Sequence numbers of where the queues begin; they move on as the queues are filled.
pub fn set_sequences(
    what: &str,
    fd: BorrowedFd<'_>,
    connection: &TcpConnection,
    phase: Phase,
) -> Result<()> {
    let received = connection
        .receive_sequence
        .wrapping_sub(connection.received_bytes)
        .wrapping_sub(phase.has_received_fin().into());
    let sent = connection
        .send_sequence
        .wrapping_sub(connection.outgoing_bytes)
        .wrapping_sub(phase.has_sent_fin().into());
    for (queue, sequence) in [(Queue::Receive, received), (Queue::Send, sent)] {
        choose(what, fd, queue)?;
        socket::set_int(fd, TCP, libc::TCP_QUEUE_SEQ, sequence.cast_signed())
            .map_err(Error::at(what, "setsockopt(TCP_QUEUE_SEQ)"))?;
    }
    Ok(())
}

/// What the two sides agreed upon when they connected (`struct tcp_repair_opt`).
pub fn set_negotiated(what: &str, fd: BorrowedFd<'_>, connection: &TcpConnection) -> Result<()> {
    const MSS: u32 = 2;
    const WINDOW: u32 = 3;
    const SACK_PERMITTED: u32 = 4;
    const TIMESTAMP: u32 = 8;
    let scales =
        connection.window_scale.map(|(send, receive)| u32::from(send) | u32::from(receive) << 16);
    let options = [
        (WINDOW, scales),
        (SACK_PERMITTED, connection.selective_acks.then_some(0)),
        (TIMESTAMP, connection.timestamp.map(|_| 0)),
        (MSS, Some(connection.mss)),
    ];
    let present = options.into_iter().filter_map(|(code, value)| Some([code, value?]));
    let bytes: Vec<u8> = present.flatten().flat_map(u32::to_ne_bytes).collect();
    socket::set_bytes(fd, TCP, libc::TCP_REPAIR_OPTIONS, &bytes)
        .map_err(Error::at(what, "setsockopt(TCP_REPAIR_OPTIONS)"))?;
    if let Some(timestamp) = connection.timestamp {
        socket::set_int(fd, TCP, libc::TCP_TIMESTAMP, timestamp.cast_signed())
            .map_err(Error::at(what, "setsockopt(TCP_TIMESTAMP)"))?;
    }
    Ok(())
}

/// The queues on their way into a socket.
pub struct Filling<'a> {
    pub what: &'a str,
    pub fd: BorrowedFd<'a>,
    pub connection: &'a TcpConnection,
    pub stored: &'a StoredQueues,
}

impl Filling<'_> {
    /// The same bytes may need more room than they had, since they are in other pieces.
    pub fn make_room(&self, options: &SocketOptions) -> Result<()> {
        const SPARE_BYTES: u32 = 1 << 20;
        let room = |usual: u32, bytes: u32| {
            (usual / 2)
                .max(bytes.saturating_mul(2).saturating_add(SPARE_BYTES))
                .cast_signed()
                .max(0)
        };
        let sizes = [
            (libc::SO_RCVBUFFORCE, options.receive_buffer, self.connection.received_bytes),
            (libc::SO_SNDBUFFORCE, options.send_buffer, self.connection.outgoing_bytes),
        ];
        for (name, usual, bytes) in sizes.into_iter().filter(|(.., bytes)| *bytes > 0) {
            socket::set_int(self.fd, SOCKET, name, room(usual, bytes))
                .map_err(Error::at(self.what, "setsockopt"))?;
        }
        Ok(())
    }

    /// Fills what was received and what was sent.
    pub fn fill(&self) -> Result<()> {
        let stored = self.stored;
        choose(self.what, self.fd, Queue::Receive)?;
        self.put(stored.start, stored.received_bytes)?;
        choose(self.what, self.fd, Queue::Send)?;
        let sent = stored.outgoing_bytes.saturating_sub(self.connection.unsent_bytes);
        self.put(stored.start + u64::from(stored.received_bytes), sent)?;
        self.set_window()
    }

    fn put(&self, start: u64, len: u32) -> Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut at, end) = (start, start + u64::from(len));
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let chunk = &mut buffer[..count];
            let file: &File = &self.stored.file;
            file.read_exact_at(chunk, at)
                .map_err(|source| Error::Content { object: self.what.into(), source })?;
            self.put_chunk(chunk)?;
            at += count as u64;
        }
        Ok(())
    }

    fn put_chunk(&self, mut chunk: &[u8]) -> Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !chunk.is_empty() {
            let count = send(self.fd, chunk, flags).map_err(Error::at(self.what, "send"))?;
            chunk = &chunk[count..];
        }
        Ok(())
    }

    /// The window as it was. A FIN that was received is not there yet.
    fn set_window(&self) -> Result<()> {
        let Some(mut window) = self.connection.window else { return Ok(()) };
        choose(self.what, self.fd, Queue::Receive)?;
        let next = socket::get_int(self.fd, TCP, libc::TCP_QUEUE_SEQ)
            .map_err(Error::at(self.what, "getsockopt(TCP_QUEUE_SEQ)"))?;
        if window.rcv_wup == next.cast_unsigned().wrapping_add(1) {
            window.rcv_wup = next.cast_unsigned();
            window.rcv_wnd = window.rcv_wnd.saturating_add(1);
        }
        let words =
            [window.snd_wl1, window.snd_wnd, window.max_window, window.rcv_wnd, window.rcv_wup];
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        socket::set_bytes(self.fd, TCP, libc::TCP_REPAIR_WINDOW, &bytes)
            .map_err(Error::at(self.what, "setsockopt(TCP_REPAIR_WINDOW)"))
    }

    /// What was never sent is given to the socket as a program does; the lock keeps it here.
    pub fn send_unsent(&self) -> Result<()> {
        let unsent = self.connection.unsent_bytes.min(self.stored.outgoing_bytes);
        if unsent == 0 {
            return Ok(());
        }
        let stored = self.stored;
        let end =
            stored.start + u64::from(stored.received_bytes) + u64::from(stored.outgoing_bytes);
        set_repair(self.what, self.fd, REPAIR_OFF_SILENTLY)?;
        self.put(end - u64::from(unsent), unsent)?;
        set_repair(self.what, self.fd, REPAIR_ON)
    }
}
