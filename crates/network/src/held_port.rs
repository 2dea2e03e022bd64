//! Ports of the host that are published: held open, so that nobody else gets them.
//!
//! The packet filter sends packets on before any socket sees them. The socket only keeps the port:
//! a stream socket must listen for that, since two that merely are bound may share one. But not before
//! the packet filter knows of the port: who came through meanwhile would be connected to nobody, and wait
//! for ever. What reaches a socket that listens all the same is for the `relay`.

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
    /// Takes a port, or any free one if `number` is 0; others can have it, too, until it is held.
    ///
    /// # Errors
    /// The kernel's, `EADDRINUSE` if somebody has it.
    pub(crate) fn take(ip: IpAddr, number: u16, serves: Port) -> io::Result<HeldPort> {
        let protocol = serves.protocol;
        let probe = bound(ip, number, protocol)?;
        if protocol == Protocol::Tcp {
            listen(&probe, 0)?;
        }
        let number = SocketAddr::try_from(getsockname(&probe)?)?.port();
        let socket = match protocol {
            // Nothing makes a socket that listens deaf again and keeps its port.
            Protocol::Tcp => {
                drop(probe);
                bound(ip, number, protocol)?
            }
            Protocol::Udp => probe,
        };
        Ok(HeldPort { socket, ip, number, serves })
    }

    /// Keeps the port, which is published now, from everybody else.
    ///
    /// # Errors
    /// The kernel's, `EADDRINUSE` if somebody took it meanwhile.
    pub(crate) fn hold(&self) -> io::Result<()> {
        match self.serves.protocol {
            Protocol::Tcp => Ok(listen(&self.socket, 0)?),
            Protocol::Udp => Ok(()),
        }
    }
}

fn bound(ip: IpAddr, number: u16, protocol: Protocol) -> io::Result<OwnedFd> {
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
    Ok(socket)
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
            held.hold().unwrap();
            let again = HeldPort::take(local, held.number, serves).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            let number = held.number;
            drop(held);
            HeldPort::take(local, number, serves).unwrap();
        }
    }

    #[test]
    fn nobody_answers_on_a_port_that_is_not_yet_published() {
        let held = HeldPort::take(
            IpAddr::from([127, 0, 0, 1]),
            0,
            Port { number: 80, protocol: Protocol::Tcp },
        )
        .unwrap();
        let refused = std::net::TcpStream::connect(("127.0.0.1", held.number)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        held.hold().unwrap();
    }
}
