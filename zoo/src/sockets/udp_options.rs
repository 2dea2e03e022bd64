//! Options of UDP sockets: broadcast, multicast, packet info, time to live.

use std::{net::UdpSocket, os::fd::AsFd};

use crate::prelude::*;

pub const GOAL: &str = "options of UDP sockets survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for (level, name, value) in [
        (libc::SOL_SOCKET, libc::SO_BROADCAST, 1),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1),
        (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        (libc::IPPROTO_IP, libc::IP_RECVTTL, 1),
        (libc::IPPROTO_IP, libc::IP_TTL, 12),
        (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 5),
        (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, 2),
    ] {
        super::set_option(socket.as_fd(), level, name, value)?;
    }
    crate::files::keep(stage, || {
        Ok(vec![super::options(socket.as_fd(), super::UDP_OPTIONS)?])
    })
}
