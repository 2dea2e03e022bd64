//! From a socket to the model.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    event::PollFlags,
    net::{RecvFlags, recv},
};
use stasis_model::{FileKind, InetSocket, SocketState, TcpConnection, TcpWindow};
use stasis_sys::socket;

use super::{
    Met, Phase, Queue, Repair, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SOCKET, TCP, has_ended,
    loss_of_ended, obstacle, polled, queued,
};
use crate::{
    error::{Error, Result},
    gathering::{Gathering, Stored},
    inet_socket::{TcpInfo, tcp_info},
};

/// Bits of `InetSocket::shutdown`.
const NO_MORE_READING: u32 = 1;
const NO_MORE: u32 = 3;

/// Freezes a connection that the network leaves alone.
///
/// Its end may have come between the first look and the lock; then it is a closed socket.
///
/// # Effect on the tracee
/// The socket is in repair mode for some microseconds; afterwards it is as it was.
pub fn freeze(met: &Met, gathering: &mut Gathering) -> Result<()> {
    let what = met.subject.to_string();
    let fd = met.fd.as_fd();
    let info = tcp_info(&what, fd)?;
    let state = SocketState::from_number(info.state().into());
    let reason = || format!("a TCP connection in the state {}", state.number());
    let Some(phase) = Phase::of(state) else {
        gathering.obstacle(met.subject.clone(), reason(), None);
        return Ok(());
    };
    if let Some(reason) = obstacle(fd) {
        gathering.obstacle(met.subject.clone(), reason, None);
        return Ok(());
    }
    if phase == Phase::Closed {
        if let Some(reason) = loss_of_ended(fd) {
            gathering.loss(met.subject.clone(), reason);
        }
        change(met, gathering, |socket| {
            socket.state = state;
            socket.remote_port = 0;
            socket.remote_address.fill(0);
            socket.shutdown = if has_ended(fd) { NO_MORE } else { 0 };
        });
        return Ok(());
    }
    let received = peek(&what, fd, queued(&what, fd, SIOCINQ)?)?;
    let (connection, outgoing) = match read(&what, fd, phase, &info)? {
        Read::Whole(connection, outgoing)
            if connection.received_bytes as usize == received.len() =>
        {
            (connection, outgoing)
        }
        Read::Whole(..) | Read::Urgent => {
            let reason = "a TCP connection with urgent data; wait until it has been read";
            gathering.obstacle(met.subject.clone(), reason, None);
            return Ok(());
        }
    };
    let is_deaf = polled(fd, PollFlags::RDHUP) && !phase.has_received_fin();
    change(met, gathering, |socket| {
        socket.state = state;
        socket.connection = Some(connection);
        socket.shutdown = if is_deaf { NO_MORE_READING } else { 0 };
    });
    gathering.stored.push(Stored::Connection { file: met.file, received, outgoing });
    Ok(())
}

fn change(met: &Met, gathering: &mut Gathering, change: impl FnOnce(&mut InetSocket)) {
    let file = gathering.tree.files.get_mut(&met.file);
    if let Some(FileKind::Inet(socket)) = file.map(|file| &mut file.kind) {
        change(socket);
    }
}

/// Reads what lies in the receive queue and leaves it there.
fn peek(what: &str, fd: BorrowedFd<'_>, len: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (count, _) =
        recv(fd, bytes.as_mut_slice(), flags).map_err(Error::at(what, "recv(MSG_PEEK)"))?;
    bytes.truncate(count);
    Ok(bytes)
}

enum Read {
    Whole(TcpConnection, Vec<u8>),
    /// A byte that was read out of turn is still between the others.
    Urgent,
}

/// Reads what only a socket in repair mode tells, and its send queue.
fn read(what: &str, fd: BorrowedFd<'_>, phase: Phase, info: &TcpInfo) -> Result<Read> {
    let number = |name| socket::get_int(fd, TCP, name).map(i32::cast_unsigned);
    let repair = Repair::begin(what, fd)?;
    let received_bytes = queued(what, fd, SIOCINQ)?;
    if has_urgent_byte(fd, received_bytes) {
        return Ok(Read::Urgent);
    }
    let fin = u32::from(phase.has_fin_in_queue());
    let outgoing_bytes = queued(what, fd, SIOCOUTQ)?.saturating_sub(fin);
    let unsent_bytes = queued(what, fd, SIOCOUTQNSD)?.saturating_sub(fin);
    repair.choose(Queue::Receive)?;
    let receive_sequence =
        number(libc::TCP_QUEUE_SEQ).map_err(Error::at(what, "getsockopt(TCP_QUEUE_SEQ)"))?;
    repair.choose(Queue::Send)?;
    let send_sequence =
        number(libc::TCP_QUEUE_SEQ).map_err(Error::at(what, "getsockopt(TCP_QUEUE_SEQ)"))?;
    let outgoing = peek_send_queue(what, fd, outgoing_bytes)?;
    let connection = TcpConnection {
        receive_sequence,
        send_sequence,
        received_bytes,
        outgoing_bytes,
        unsent_bytes: unsent_bytes.min(outgoing_bytes),
        mss: number(libc::TCP_MAXSEG).map_err(Error::at(what, "getsockopt(TCP_MAXSEG)"))?,
        selective_acks: info.has_selective_acks(),
        window_scale: info.window_scale(),
        timestamp: match info.has_timestamps() {
            true => Some(
                number(libc::TCP_TIMESTAMP)
                    .map_err(Error::at(what, "getsockopt(TCP_TIMESTAMP)"))?,
            ),
            false => None,
        },
        window: window(fd),
    };
    repair.end()?;
    Ok(Read::Whole(connection, outgoing))
}

/// Who has read urgent data out of turn finds the bytes behind its place only by `SO_OOBINLINE`.
fn has_urgent_byte(fd: BorrowedFd<'_>, readable: u32) -> bool {
    if socket::get_int(fd, SOCKET, libc::SO_OOBINLINE).is_ok_and(|on| on != 0)
        || socket::set_int(fd, SOCKET, libc::SO_OOBINLINE, 1).is_err()
    {
        return false;
    }
    let all = queued("socket", fd, SIOCINQ);
    let _ = socket::set_int(fd, SOCKET, libc::SO_OOBINLINE, 0);
    all.is_ok_and(|all| all != readable)
}

/// The kernel gives whole segments, of which the first may be acknowledged in part.
fn peek_send_queue(what: &str, fd: BorrowedFd<'_>, len: u32) -> Result<Vec<u8>> {
    const LONGEST_SEGMENT: u32 = 1 << 16;
    if len == 0 {
        return Ok(Vec::new());
    }
    let bytes = peek(what, fd, len.saturating_add(LONGEST_SEGMENT))?;
    match bytes.len().checked_sub(len as usize) {
        Some(acknowledged) => Ok(bytes[acknowledged..].to_vec()),
        None => {
            let reason = format!("its send queue gave {} bytes instead of {len}", bytes.len());
            Err(Error::Changed { object: what.into(), reason })
        }
    }
}

/// `struct tcp_repair_window`: five numbers.
fn window(fd: BorrowedFd<'_>) -> Option<TcpWindow> {
    let mut bytes = [0; 20];
    let len = socket::get_bytes(fd, TCP, libc::TCP_REPAIR_WINDOW, &mut bytes).ok()?;
    if len != bytes.len() {
        return None;
    }
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Some(TcpWindow {
        snd_wl1: word(0),
        snd_wnd: word(4),
        max_window: word(8),
        rcv_wnd: word(12),
        rcv_wup: word(16),
    })
}
