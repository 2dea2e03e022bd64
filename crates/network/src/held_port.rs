//! Ports of the host that are published: held open, so that nobody else gets them.
//!
//! The packet filter sends packets on before any socket sees them. The socket only keeps the port:
//! a stream socket must listen for that, since two that merely are bound may share one. What reaches a
//! socket all the same is for the `relay`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
};

use crate::port::{Port, Protocol};

/// Ends the claim when dropped.
#[derive(Debug)]
pub struct HeldPort {
    pub(crate) socket: OwnedFd,
    pub(crate) ip: IpAddr,
    pub(crate) number: u16,
    /// What the container serves there.
    pub(crate) serves: Port,
}

impl HeldPort {
    /// Takes a port, or any free one if `number` is 0.
    ///
    /// # Errors
    /// The kernel's, `EADDRINUSE` if somebody has it.
    pub(crate) fn take(ip: IpAddr, number: u16, serves: Port) -> io::Result<HeldPort> {
        let protocol = serves.protocol;
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let kind = match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if ip.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if protocol == Protocol::Tcp {
            // Connections of an earlier holder that have ended are no obstacle.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &SocketAddr::new(ip, number))?;
        if protocol == Protocol::Tcp {
            listen(&socket, 0)?;
        }
        let number = SocketAddr::try_from(getsockname(&socket)?)?.port();
        Ok(HeldPort { socket, ip, number, serves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_taken_until_it_is_dropped() {
        let local = IpAddr::from([127, 0, 0, 1]);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let serves = Port { number: 80, protocol };
            let held = HeldPort::take(local, 0, serves).unwrap();
            let again = HeldPort::take(local, held.number, serves).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            let number = held.number;
            drop(held);
            HeldPort::take(local, number, serves).unwrap();
        }
    }
}
