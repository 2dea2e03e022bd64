//! The queues of TCP connections.

use std::{fs::File, io::Write, path::Path};

use stasis_model::{SocketId, TcpConnection};

use super::{ReadAt, open};
use crate::{
    Error, Result,
    convert::{MAX_TCP_STREAM_HEAD, tcp_stream_entry, tcp_stream_file},
    wire::{
        framing::{RecordWriter, Records},
        magic::format_of,
        sk_inet::TcpStreamEntry,
    },
};

/// Writes the file of one connection.
pub(super) fn write(
    dir: &Path,
    socket: SocketId,
    connection: &TcpConnection,
    (received, outgoing): (&[u8], &[u8]),
) -> Result<()> {
    let name = tcp_stream_file(socket);
    let told = (connection.received_bytes as usize, connection.outgoing_bytes as usize);
    if told != (received.len(), outgoing.len()) {
        let reason = "its queues are not as long as they are said to be";
        return Err(Error::unwritable(format!("connection {socket}"), reason));
    }
    let mut head = RecordWriter::new(format_of(&name).expect("connections have a format"));
    head.record(&tcp_stream_entry(connection));
    let mut file = open::create(dir, &name)?;
    for bytes in [&head.into_bytes(), received, outgoing] {
        file.write_all(bytes).map_err(Error::io("write", dir.join(&name)))?;
    }
    Ok(())
}

/// Where the queues of a connection lie in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpQueues {
    /// Offset of the receive queue, bytes; the send queue follows it.
    pub start: u64,
    pub received_bytes: u32,
    pub outgoing_bytes: u32,
}

/// The stored queues of one TCP connection.
#[derive(Debug)]
pub struct TcpStreamReader {
    file: File,
    queues: TcpQueues,
}

impl TcpStreamReader {
    pub(super) fn open(dir: &Path, socket: SocketId) -> Result<Self> {
        let name = tcp_stream_file(socket);
        let file = open::open(dir, &name)?.ok_or_else(|| Error::Missing {
            file: name.clone(),
            needed_for: "a TCP connection needs it".into(),
        })?;
        let len = open::len(dir, &name, &file)?;
        let queues = tcp_queues(&name, &file, len)?;
        Ok(TcpStreamReader { file, queues })
    }

    /// The checkpoint file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Wholly inside the file.
    pub fn queues(&self) -> TcpQueues {
        self.queues
    }
}

/// Finds the queues in a connection's file of `len` bytes called `name`.
///
/// # Errors
/// [`Error::Corrupt`] if it is cut short.
pub fn tcp_queues<R: ReadAt + ?Sized>(name: &str, file: &R, len: u64) -> Result<TcpQueues> {
    let head_len = len.min(MAX_TCP_STREAM_HEAD as u64);
    let mut head = vec![0; usize::try_from(head_len).expect("some KiB")];
    file.read_exact_at(&mut head, 0).map_err(|_| open::corrupt(name, "is cut short"))?;
    let format = format_of(name).ok_or_else(|| open::corrupt(name, "is no TCP connection"))?;
    let mut records = Records::open(name, format, &head)?;
    let entry: TcpStreamEntry = records.single()?;
    let start = records.position() as u64;
    let end = start + u64::from(entry.inq_len) + u64::from(entry.outq_len);
    if end > len {
        return Err(open::corrupt(name, "is cut short"));
    }
    Ok(TcpQueues { start, received_bytes: entry.inq_len, outgoing_bytes: entry.outq_len })
}
