//! tcp(7): a connection, with its sequence numbers and what is in its two queues.
//!
//! It is read and made by `TCP_REPAIR`, under which a socket says nothing to its peer. A task's socket
//! is in that mode for the instant only in which it is read; its receive queue is peeked before. The
//! caller keeps the network away meanwhile, so that nothing is acknowledged that a checkpoint lacks.
//! When a tree has been killed, sockets of which we hold the last descriptor end in repair mode, which
//! its peers do not notice.
//!
//! Options that both sides agreed upon are kept, but for explicit congestion notification, which ends.
//! Urgent data, TLS in the kernel and peeking with an offset are refused.

mod abandoned;
mod ending;
mod filling;
mod freeze;
mod phase;
mod segment;
mod thaw;

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::connect_unspec,
};
use stasis_model::{FileId, InetSocket, Subject};
use stasis_sys::{ioctl, socket};

pub use abandoned::abandon;
pub use freeze::freeze;
use phase::Phase;
pub use thaw::{Unsettled, settle, thaw};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
    inet_socket::{self, End},
};

const TCP: i32 = 6;
const SOCKET: i32 = libc::SOL_SOCKET;

/// Mark of the segments that we send to a socket in the place of its peer (`SO_MARK`); a lock of the
/// network lets them pass.
pub const REPAIR_MARK: u32 = 0x5374_5263;

/// Which connections come back from a checkpoint; the others are closed with a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    Nothing,
    /// Those whose both ends are in the tree.
    Inner,
    /// Those whose local address is there.
    #[default]
    Possible,
    /// All, or the restore fails.
    Everything,
}

/// The two addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Ends {
    /// The ends of a connection of a checkpoint.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if an address has an odd length.
    pub fn of(inet: &InetSocket) -> Result<Ends> {
        let address = |bytes, port| inet_socket::socket_address(bytes, port, inet);
        Ok(Ends {
            local: address(&inet.local_address, inet.local_port)?,
            remote: address(&inet.remote_address, inet.remote_port)?,
        })
    }

    /// Without the cloak that IPv4 has on an IPv6 socket.
    fn canonical(&self) -> Ends {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Ends { local: plain(self.local), remote: plain(self.remote) }
    }
}

impl std::fmt::Display for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TCP connection {} -> {}", self.local, self.remote)
    }
}

/// A connection that was met in a stopped tree and is still to be frozen.
#[derive(Debug)]
pub struct Met {
    pub file: FileId,
    pub subject: Subject,
    pub ends: Ends,
    /// Holds the socket when the tree is gone.
    fd: OwnedFd,
}

/// Whether a socket is a TCP connection, or on its way to become one.
pub fn is_connection(fd: BorrowedFd<'_>) -> bool {
    const TCP_LISTEN: u8 = 10;
    const TCP_CLOSE: u8 = 7;
    let is_tcp = socket::get_int(fd, SOCKET, libc::SO_PROTOCOL).is_ok_and(|number| number == TCP);
    is_tcp
        && inet_socket::tcp_info("socket", fd)
            .is_ok_and(|info| !matches!(info.state(), TCP_LISTEN | TCP_CLOSE))
}

/// Says what a connection is, in the user's words.
pub fn describe(fd: BorrowedFd<'_>) -> String {
    let remote = inet_socket::address(fd, End::Remote);
    let peer = remote.map(|remote| format!(" to {remote}")).unwrap_or_default();
    format!("a TCP connection{peer}")
}

/// Why a connection cannot be kept by anybody, if so.
pub fn obstacle(fd: BorrowedFd<'_>) -> Option<String> {
    const SYN_RECV: u8 = 3;
    let because = |reason: &str| Some(format!("{} {reason}", describe(fd)));
    let info = inet_socket::tcp_info("socket", fd).ok()?;
    if info.state() == SYN_RECV {
        return because("that was accepted before it was established (TCP_FASTOPEN)");
    }
    if has_protocol_above(fd) {
        return because("with another protocol in the kernel on top of it (TCP_ULP)");
    }
    if polled(fd, PollFlags::PRI) {
        return because("with urgent data; wait until it has been read");
    }
    let offset = socket::get_int(fd, SOCKET, libc::SO_PEEK_OFF).unwrap_or(-1);
    if offset >= 0 {
        return because("that is peeked into with an offset (SO_PEEK_OFF)");
    }
    None
}

/// Whether a closed socket is at the end of a connection that it had; a new one never was shut down.
pub fn has_ended(fd: BorrowedFd<'_>) -> bool {
    polled(fd, PollFlags::RDHUP)
}

/// What of a closed socket is not kept: only a connection can have these.
pub fn loss_of_ended(fd: BorrowedFd<'_>) -> Option<String> {
    let unread = ioctl::readable_bytes(fd).unwrap_or(0);
    if unread > 0 {
        return Some(format!("{unread} byte(s) that came before the connection ended"));
    }
    polled(fd, PollFlags::ERR).then(|| "the error that its connection ended with".into())
}

fn has_protocol_above(fd: BorrowedFd<'_>) -> bool {
    let mut name = [0; 16];
    let len = socket::get_bytes(fd, TCP, libc::TCP_ULP, &mut name).unwrap_or(0);
    name[..len.min(name.len())].iter().any(|byte| *byte != 0)
}

/// Which of these are so at this moment.
fn polled(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(flags)
}

/// Notes a connection, to be frozen when the network leaves it alone.
pub(crate) fn resolve_later(
    open: &OpenFd,
    file: FileId,
    inet: &InetSocket,
    gathering: &mut Gathering,
) -> Result<()> {
    let fd = crate::gathering::file_of(open)?;
    let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(Error::at(open.what(), "dup"))?;
    let ends = Ends::of(inet)?;
    gathering.connections.push(Met { file, subject: open.subject(), ends, fd });
    Ok(())
}

impl Met {
    /// Ends the connection without a word; its descriptor must be the last one.
    ///
    /// # Errors
    /// By the kernel; then the peer may hear of the end.
    pub fn end_silently(self) -> Result<()> {
        let what = self.ends.to_string();
        socket::set_int(self.fd.as_fd(), TCP, libc::TCP_REPAIR, REPAIR_ON)
            .map_err(Error::at(what, "setsockopt(TCP_REPAIR)"))
    }

    /// Ends the connection of a stopped tree with a reset, at once.
    ///
    /// # Errors
    /// By the kernel; then it lasts as long as the tree.
    pub fn reset_now(&self) -> Result<()> {
        connect_unspec(&self.fd).map_err(Error::at(self.ends.to_string(), "connect(AF_UNSPEC)"))
    }

    /// Ends the connection with a reset; its descriptor must be the last one.
    ///
    /// # Errors
    /// By the kernel; then it ends in order.
    pub fn reset(self) -> Result<()> {
        let at_once = [1u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat();
        socket::set_bytes(self.fd.as_fd(), SOCKET, libc::SO_LINGER, &at_once)
            .map_err(Error::at(self.ends.to_string(), "setsockopt(SO_LINGER)"))
    }
}

const REPAIR_ON: i32 = 1;
const REPAIR_OFF: i32 = 0;
/// Ends the mode without a probe of the peer's window.
const REPAIR_OFF_SILENTLY: i32 = -1;

/// Queues by the kernel's numbers (`TCP_REPAIR_QUEUE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Receive = 1,
    Send = 2,
}

/// A socket in repair mode; it leaves the mode in the end, whatever happens.
struct Repair<'a> {
    what: &'a str,
    fd: BorrowedFd<'a>,
    /// The mode spoils it (the kernel's `sk_reuse`).
    reuse_address: i32,
    is_over: bool,
}

impl<'a> Repair<'a> {
    fn begin(what: &'a str, fd: BorrowedFd<'a>) -> Result<Repair<'a>> {
        let reuse_address = socket::get_int(fd, SOCKET, libc::SO_REUSEADDR)
            .map_err(Error::at(what, "getsockopt(SO_REUSEADDR)"))?;
        set_repair(what, fd, REPAIR_ON)?;
        Ok(Repair { what, fd, reuse_address, is_over: false })
    }

    fn end(mut self) -> Result<()> {
        self.is_over = true;
        self.leave()
    }

    fn leave(&self) -> Result<()> {
        set_repair(self.what, self.fd, REPAIR_OFF_SILENTLY)?;
        socket::set_int(self.fd, SOCKET, libc::SO_REUSEADDR, self.reuse_address)
            .map_err(Error::at(self.what, "setsockopt(SO_REUSEADDR)"))
    }

    fn choose(&self, queue: Queue) -> Result<()> {
        choose(self.what, self.fd, queue)
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // What led here is the failure to tell.
            let _ = self.leave();
        }
    }
}

fn set_repair(what: &str, fd: BorrowedFd<'_>, mode: i32) -> Result<()> {
    socket::set_int(fd, TCP, libc::TCP_REPAIR, mode)
        .map_err(Error::at(what, "setsockopt(TCP_REPAIR)"))
}

fn choose(what: &str, fd: BorrowedFd<'_>, queue: Queue) -> Result<()> {
    socket::set_int(fd, TCP, libc::TCP_REPAIR_QUEUE, queue as i32)
        .map_err(Error::at(what, "setsockopt(TCP_REPAIR_QUEUE)"))
}

/// Bytes in a queue, as an ioctl tells (tcp(7)).
fn queued(what: &str, fd: BorrowedFd<'_>, request: u64) -> Result<u32> {
    ioctl::get_int(fd, request).map(i32::cast_unsigned).map_err(Error::at(what, "ioctl"))
}

/// Received and not read; a FIN does not count.
const SIOCINQ: u64 = 0x541b;
/// Not acknowledged; a FIN counts.
const SIOCOUTQ: u64 = 0x5411;
/// Not sent; a FIN counts.
const SIOCOUTQNSD: u64 = 0x894b;
