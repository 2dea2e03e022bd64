//! From the model to a socket.
//!
//! First everything is put in place in repair mode, while a lock keeps the network away; [`settle`]
//! ends the mode when the lock has gone. What happens if we end in between: the sockets go without a
//! word, and the checkpoint is as good as before.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{Shutdown, connect, connect_unspec, shutdown};
use stasis_model::{FileId, FileKind, InetSocket, OpenFile, Subject, TcpConnection};
use stasis_sys::{Errno, fcntl, socket};
use stasis_tracee::Blank;

use super::{
    Ends, Keeping, Phase, Queue, REPAIR_OFF, REPAIR_OFF_SILENTLY, REPAIR_ON, SOCKET, TCP, choose,
    ending::end_data,
    filling::{Filling, set_negotiated, set_sequences},
    set_repair,
};
use crate::{
    error::{Error, Result},
    inet_socket, socket_options,
    thawing::Thawing,
};

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
            let (ours, theirs) = (ends.canonical(), other.canonical());
            (theirs.local, theirs.remote) == (ours.remote, ours.local)
        }),
        _ => false,
    });
    has_other_end || ends.canonical().remote.ip().is_loopback()
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

/// Makes a connection that will be reset: to the peer if the local address is here, so that the peer
/// hears of it, else to nobody.
fn close(made: &OwnedFd, inet: &InetSocket, ends: &Ends) -> Result<How> {
    let (what, fd) = (&ends.to_string(), made.as_fd());
    set_repair(what, fd, REPAIR_ON)?;
    if !take_place_of((inet, ends), fd, what)? {
        let nobody = nobody(ends);
        // A bound socket stays bound, and then only the route to the peer was missing.
        let _ = rustix::net::bind(fd, &SocketAddr::new(nobody.ip(), 0));
        connect(fd, &nobody).map_err(Error::at(what, "connect"))?;
    }
    inet_socket::thaw_ip_options(inet, fd, what)?;
    socket_options::thaw(what, &inet.options, fd)?;
    Ok(How::Reset)
}

/// Puts a socket in repair mode in the place of a connection, as far as a reset needs it; tells whether
/// the peer will hear of one.
pub fn take_place_of(
    (inet, ends): (&InetSocket, &Ends),
    fd: BorrowedFd<'_>,
    what: &str,
) -> Result<bool> {
    if let Some(connection) = &inet.connection {
        choose(what, fd, Queue::Send)?;
        let next = connection.send_sequence.wrapping_sub(connection.unsent_bytes);
        socket::set_int(fd, TCP, libc::TCP_QUEUE_SEQ, next.cast_signed())
            .map_err(Error::at(what, "setsockopt(TCP_QUEUE_SEQ)"))?;
    }
    let knows_peer = inet.connection.is_some() && Phase::of(inet.state) != Some(Phase::SynSent);
    Ok(knows_peer
        && rustix::net::bind(fd, &ends.local).is_ok()
        && connect(fd, &ends.remote).is_ok())
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
    disconnect(what, fd)?;
    set_reuse(what, inet, fd)
}

/// Ends the mode and the connection: the kernel sends the reset.
pub fn disconnect(what: &str, fd: BorrowedFd<'_>) -> Result<()> {
    set_repair(what, fd, REPAIR_OFF_SILENTLY)?;
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
