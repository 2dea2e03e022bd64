//! Options of TCP sockets on every level, switched on and off.

use crate::prelude::*;

pub const GOAL: &str = "options of TCP sockets survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, listen, socket};
    let sockets = [
        socket(AddressFamily::INET, SocketType::STREAM, None)?,
        socket(AddressFamily::INET, SocketType::STREAM, None)?,
    ];
    for (level, name, value) in [
        (libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
        (libc::SOL_SOCKET, libc::SO_REUSEPORT, 1),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::SOL_SOCKET, libc::SO_OOBINLINE, 1),
        (libc::SOL_SOCKET, libc::SO_SNDBUF, 50_000),
        (libc::SOL_SOCKET, libc::SO_RCVBUF, 60_000),
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT, 5),
        (libc::SOL_SOCKET, libc::SO_PRIORITY, 4),
        (libc::SOL_SOCKET, libc::SO_MARK, 42),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 111),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 22),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 7),
        (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 10),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 33_000),
        (libc::IPPROTO_IP, libc::IP_TOS, 0x10),
        (libc::IPPROTO_IP, libc::IP_TTL, 33),
        (libc::IPPROTO_IP, libc::IP_FREEBIND, 1),
    ] {
        super::set_option(&sockets[0], level, name, value)?;
    }
    listen(&sockets[0], 17)?;
    crate::files::keep(stage, || {
        sockets.iter().map(|s| super::options(s, super::TCP_OPTIONS)).collect()
    })
}
