//! From the model to a socket.
//!
//! First everything is put in place in repair mode, while a lock keeps the network away; [`settle`]
//! ends the mode when the lock has gone. What happens if we end in between: the sockets go without a
//! word, and the checkpoint is as good as before.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::FileExt,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::net::{SendFlags, Shutdown, connect, connect_unspec, send, shutdown};
use stasis_model::{FileId, FileKind, InetSocket, OpenFile, SocketOptions, Subject, TcpConnection};
use stasis_sys::{Errno, fcntl, socket};
use stasis_tracee::Blank;

use super::{
    Ends, Keeping, Phase, Queue, REPAIR_OFF, REPAIR_OFF_SILENTLY, REPAIR_ON, SOCKET, TCP, choose,
    segment::{self, ACK, FIN, Segment},
    set_repair,
};
use crate::{
    content::StoredQueues,
    error::{Error, Result},
    inet_socket::{self, tcp_info},
    socket_options,
    thawing::Thawing,
};

const CHUNK_BYTES: usize = 32 << 10;
const ARRIVAL: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A connection that is in place and still in repair mode.
#[derive(Debug)]
pub struct Unsettled {
    file: FileId,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Kept,
    Reset,
    /// It was on its way, and starts again.
    Connect,
}

/// Makes the socket of a connection, or of one that is to be closed.
pub fn thaw(
    id: FileId,
    inet: &InetSocket,
    file: &OpenFile,
    thawing: &mut Thawing,
    nursery: &mut Blank,
) -> Result<OwnedFd> {
    let ends = Ends::of(inet)?;
    let what = ends.to_string();
    let made = inet_socket::make(inet, nursery, &what)?;
    let how = match wish(inet, &ends, thawing)? {
        Wish::Close => close(&made, inet, &ends)?,
        Wish::Keep(old) => keep((&made, inet, &old), &ends, thawing)
            .map_err(|error| if is_elsewhere(&error) { explained(&ends) } else { error })?,
        Wish::KeepIfPossible(old) => match keep((&made, inet, &old), &ends, thawing) {
            Err(error) if is_elsewhere(&error) => {
                let reason = "its local address is not here; it is closed with a reset";
                thawing.loss(Subject::Named(what.clone()), reason);
                close(&made, inet, &ends)?
            }
            kept => kept?,
        },
    };
    fcntl::set_status_flags(made.as_fd(), file.flags).map_err(Error::at(&what, "F_SETFL"))?;
    thawing.unsettled.push(Unsettled { file: id, how });
    Ok(made)
}

enum Wish {
    Keep(Old),
    KeepIfPossible(Old),
    Close,
}

/// A connection as it was.
struct Old {
    connection: TcpConnection,
    phase: Phase,
}

fn wish(inet: &InetSocket, ends: &Ends, thawing: &mut Thawing) -> Result<Wish> {
    let Some(connection) = inet.connection else { return Ok(Wish::Close) };
    let Some(phase) = Phase::of(inet.state) else {
        let reason = format!("nothing can be made of its state {}", inet.state.number());
        return Err(Error::Unsupported { object: ends.to_string(), reason });
    };
    let old = Old { connection, phase };
    Ok(match thawing.keeping() {
        Keeping::Everything => Wish::Keep(old),
        Keeping::Possible => Wish::KeepIfPossible(old),
        Keeping::Inner if is_inner(ends, thawing) => Wish::KeepIfPossible(old),
        Keeping::Inner => {
            let reason = "its peer belongs to another container or time; it is closed with a reset";
            thawing.loss(Subject::Named(ends.to_string()), reason);
            Wish::Close
        }
        Keeping::Nothing => Wish::Close,
    })
}

fn is_elsewhere(error: &Error) -> bool {
    matches!(error, Error::Kernel { errno: Errno(libc::EADDRNOTAVAIL), .. })
}

fn explained(ends: &Ends) -> Error {
    let address = ends.local.ip();
    let reason = format!(
        "its local address is not here (EADDRNOTAVAIL); give this place the address {address}, or \
         use --tcp-close"
    );
    Error::Unsupported { object: ends.to_string(), reason }
}

/// Is the peer a socket of the tree, too? Then it has the same two ends the other way round.
fn is_inner(ends: &Ends, thawing: &Thawing) -> bool {
    let has_other_end = thawing.tree().files.values().any(|file| match &file.kind {
        FileKind::Inet(inet) if inet.is_connection() => Ends::of(inet).is_ok_and(|other| {
            (canonical(other.local), canonical(other.remote))
                == (canonical(ends.remote), canonical(ends.local))
        }),
        _ => false,
    });
    has_other_end || canonical(ends.remote).ip().is_loopback()
}

/// An address without the cloak that IPv4 has on an IPv6 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Puts a connection in place.
fn keep(
    (made, inet, old): (&OwnedFd, &InetSocket, &Old),
    ends: &Ends,
    thawing: &Thawing,
) -> Result<How> {
    let (what, fd) = (ends.to_string(), made.as_fd());
    let Old { connection, phase } = old;
    if *phase == Phase::SynSent {
        rustix::net::bind(fd, &ends.local).map_err(Error::at(&what, "bind"))?;
        inet_socket::thaw_ip_options(inet, fd, &what)?;
        socket_options::thaw(&what, &inet.options, fd)?;
        return Ok(How::Connect);
    }
    set_repair(&what, fd, REPAIR_ON)?;
    set_sequences(&what, fd, connection, *phase)?;
    rustix::net::bind(fd, &ends.local).map_err(Error::at(&what, "bind"))?;
    connect(fd, &ends.remote).map_err(Error::at(&what, "connect"))?;
    set_negotiated(&what, fd, connection)?;
    let stored = thawing
        .contents()
        .tcp_queues(inet.socket)
        .map_err(|source| Error::Content { object: what.clone(), source })?;
    let filling = Filling { what: &what, fd, connection, stored: &stored };
    filling.make_room(&inet.options)?;
    filling.fill()?;
    inet_socket::thaw_ip_options(inet, fd, &what)?;
    filling.send_unsent()?;
    end_data(&filling, *phase, ends, thawing)?;
    if inet.shutdown & 1 != 0 {
        shutdown(fd, Shutdown::Read).map_err(Error::at(&what, "shutdown"))?;
    }
    socket_options::thaw(&what, &inet.options, fd)?;
    Ok(How::Kept)
}

/// Sequence numbers of where the queues begin; they move on as the queues are filled.
fn set_sequences(
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
fn set_negotiated(what: &str, fd: BorrowedFd<'_>, connection: &TcpConnection) -> Result<()> {
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
struct Filling<'a> {
    what: &'a str,
    fd: BorrowedFd<'a>,
    connection: &'a TcpConnection,
    stored: &'a StoredQueues,
}

impl Filling<'_> {
    /// The same bytes may need more room than they had, since they are in other pieces.
    fn make_room(&self, options: &SocketOptions) -> Result<()> {
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
    fn fill(&self) -> Result<()> {
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
    fn send_unsent(&self) -> Result<()> {
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

/// Ends the data of both sides, in the order that leads to the state.
fn end_data(filling: &Filling<'_>, phase: Phase, ends: &Ends, thawing: &Thawing) -> Result<()> {
    let end = |side: Side| match side {
        Side::Ours => end_ours(filling),
        Side::Theirs => {
            let (next, before_fin) = theirs(filling.connection, phase);
            arrive(filling, ends, thawing, (next, before_fin, FIN | ACK))
        }
        Side::Acknowledgement => {
            let next = filling.connection.receive_sequence;
            arrive(filling, ends, thawing, (next, filling.connection.send_sequence, ACK))
        }
    };
    let sides: &[Side] = match phase {
        Phase::SynSent | Phase::Established => &[],
        Phase::FinWait1 => &[Side::Ours],
        Phase::FinWait2 => &[Side::Ours, Side::Acknowledgement],
        Phase::CloseWait => &[Side::Theirs],
        Phase::LastAck => &[Side::Theirs, Side::Ours],
        Phase::Closing => &[Side::Ours, Side::Theirs],
        Phase::Closed => &[Side::Theirs, Side::Ours, Side::Acknowledgement],
    };
    for side in sides {
        end(*side)?;
    }
    expect_phase(filling, phase)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
    /// Of the end of our data.
    Acknowledgement,
}

/// The numbers in the peer's FIN: its own, and one that acknowledges nothing new.
fn theirs(connection: &TcpConnection, phase: Phase) -> (u32, u32) {
    let fin = u32::from(phase.has_sent_fin());
    let unacknowledged = connection.send_sequence.wrapping_sub(connection.outgoing_bytes);
    (connection.receive_sequence.wrapping_sub(1), unacknowledged.wrapping_sub(fin))
}

/// A FIN behind data that was not sent waits like that; else it was sent already.
fn end_ours(filling: &Filling<'_>) -> Result<()> {
    let (what, fd) = (filling.what, filling.fd);
    let waits = filling.connection.unsent_bytes > 0;
    if waits {
        set_repair(what, fd, REPAIR_OFF_SILENTLY)?;
    } else {
        choose(what, fd, Queue::Send)?;
    }
    shutdown(fd, Shutdown::Write).map_err(Error::at(what, "shutdown"))?;
    if waits { set_repair(what, fd, REPAIR_ON) } else { Ok(()) }
}

fn arrive(
    filling: &Filling<'_>,
    ends: &Ends,
    thawing: &Thawing,
    (sequence, acknowledged, flags): (u32, u32, u8),
) -> Result<()> {
    let (shift, _) = filling.connection.window_scale.unwrap_or_default();
    let window =
        filling.connection.window.map_or(u32::MAX, |window| window.snd_wnd) >> shift.min(31);
    let window = u16::try_from(window).unwrap_or(u16::MAX);
    let canonical = Ends { local: canonical(ends.local), remote: canonical(ends.remote) };
    let raw = segment::raw_socket(thawing.network()?, &canonical.local)?;
    segment::deliver(&raw, &canonical, Segment { sequence, acknowledged, flags, window })?;
    await_arrival(filling, flags)
}

/// What goes over the loopback device has arrived as a rule when it was sent.
fn await_arrival(filling: &Filling<'_>, flags: u8) -> Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    let before_fin = [Phase::Established, Phase::FinWait1];
    let before_ack = [Phase::FinWait1, Phase::LastAck];
    let before: &[Phase] = if flags & FIN != 0 { &before_fin } else { &before_ack };
    while before.contains(&phase_now(filling)?) {
        if Instant::now() > deadline {
            let reason = "the end of its peer's data did not reach the socket";
            return Err(Error::Changed { object: filling.what.into(), reason: reason.into() });
        }
        sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn phase_now(filling: &Filling<'_>) -> Result<Phase> {
    let number = tcp_info(filling.what, filling.fd)?.state();
    Phase::of(stasis_model::SocketState::from_number(number.into())).ok_or_else(|| {
        let reason = format!("the kernel put it into the state {number}");
        Error::Changed { object: filling.what.into(), reason }
    })
}

fn expect_phase(filling: &Filling<'_>, phase: Phase) -> Result<()> {
    let now = phase_now(filling)?;
    if now == phase {
        return Ok(());
    }
    let reason = format!("it came into the state {now:?} instead of {phase:?}");
    Err(Error::Changed { object: filling.what.into(), reason })
}

/// Makes a connection that will be reset: to the peer if the local address is here, so that the peer
/// hears of it, else to nobody.
fn close(made: &OwnedFd, inet: &InetSocket, ends: &Ends) -> Result<How> {
    let (what, fd) = (&ends.to_string(), made.as_fd());
    set_repair(what, fd, REPAIR_ON)?;
    if let Some(connection) = &inet.connection {
        choose(what, fd, Queue::Send)?;
        let next = connection.send_sequence.wrapping_sub(connection.unsent_bytes);
        socket::set_int(fd, TCP, libc::TCP_QUEUE_SEQ, next.cast_signed())
            .map_err(Error::at(what, "setsockopt(TCP_QUEUE_SEQ)"))?;
    }
    let knows_peer = inet.connection.is_some() && Phase::of(inet.state) != Some(Phase::SynSent);
    let to_peer = knows_peer
        && rustix::net::bind(fd, &ends.local).is_ok()
        && connect(fd, &ends.remote).is_ok();
    if !to_peer {
        let nobody = nobody(ends);
        // A bound socket stays bound, and then only the route to the peer was missing.
        let _ = rustix::net::bind(fd, &SocketAddr::new(nobody.ip(), 0));
        connect(fd, &nobody).map_err(Error::at(what, "connect"))?;
    }
    inet_socket::thaw_ip_options(inet, fd, what)?;
    socket_options::thaw(what, &inet.options, fd)?;
    Ok(How::Reset)
}

/// A place on the loopback device where nobody has heard of the connection.
fn nobody(ends: &Ends) -> SocketAddr {
    let address = match ends.local.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(_) => IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
            None => IpAddr::V6(Ipv6Addr::LOCALHOST),
        },
    };
    SocketAddr::new(address, ends.remote.port())
}

/// Ends the repair mode of all connections: those that are kept go on, the others are reset.
///
/// # Errors
/// By the kernel.
pub fn settle(thawing: &mut Thawing) -> Result<()> {
    for Unsettled { file, how } in std::mem::take(&mut thawing.unsettled) {
        let FileKind::Inet(inet) = &thawing.model_file(file).kind else { continue };
        let Some(fd) = thawing.file(file) else { continue };
        let what = Ends::of(inet)?.to_string();
        match how {
            How::Kept => go_on(&what, inet, fd)?,
            How::Reset => reset(&what, inet, fd)?,
            How::Connect => start_again(&what, inet, (fd, thawing.model_file(file).flags))?,
        }
    }
    Ok(())
}

/// The probe that the kernel sends at the end of the mode makes the peer tell where it stands.
fn go_on(what: &str, inet: &InetSocket, fd: BorrowedFd<'_>) -> Result<()> {
    set_repair(what, fd, REPAIR_OFF)?;
    set_reuse(what, inet, fd)?;
    socket_options::thaw_buffers(what, &inet.options, fd)
}

fn reset(what: &str, inet: &InetSocket, fd: BorrowedFd<'_>) -> Result<()> {
    set_repair(what, fd, REPAIR_OFF_SILENTLY)?;
    set_reuse(what, inet, fd)?;
    connect_unspec(fd).map_err(Error::at(what, "connect(AF_UNSPEC)"))
}

fn start_again(what: &str, inet: &InetSocket, (fd, flags): (BorrowedFd<'_>, u32)) -> Result<()> {
    const O_NONBLOCK: u32 = 0o4000;
    let ends = Ends::of(inet)?;
    let set = |flags| fcntl::set_status_flags(fd, flags).map_err(Error::at(what, "F_SETFL"));
    set(flags | O_NONBLOCK)?;
    // What comes of it the program learns from the socket.
    let _ = connect(fd, &ends.remote);
    set(flags)
}

fn set_reuse(what: &str, inet: &InetSocket, fd: BorrowedFd<'_>) -> Result<()> {
    socket::set_int(fd, SOCKET, libc::SO_REUSEADDR, inet.options.reuse_address.into())
        .map_err(Error::at(what, "setsockopt(SO_REUSEADDR)"))
}
