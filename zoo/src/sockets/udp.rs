//! UDP sockets, IPv4 and IPv6: bound, connected, and both ways afterwards.

use std::net::UdpSocket;

use crate::prelude::*;

pub const GOAL: &str = "bound and connected UDP sockets survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut groups = Vec::new();
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(bound) = UdpSocket::bind(local) else { continue };
        let connected = UdpSocket::bind(local)?;
        connected.connect(bound.local_addr()?)?;
        let other = UdpSocket::bind(local)?;
        groups.push((bound, connected, other));
    }
    crate::files::keep(stage, || {
        let look = |(bound, connected, _): &(UdpSocket, UdpSocket, UdpSocket)| {
            let peer = (bound.peer_addr().ok(), connected.peer_addr()?);
            Ok(format!("{} {} {peer:?}", bound.local_addr()?, connected.local_addr()?))
        };
        groups.iter().map(look).collect()
    })?;
    for (bound, connected, other) in groups {
        let mut bytes = [0; 10];
        connected.send(b"hello")?;
        let (len, from) = bound.recv_from(&mut bytes)?;
        ensure!(&bytes[..len] == b"hello" && from == connected.local_addr()?, "from {from}");
        // A connected socket hears its peer only.
        other.send_to(b"noise", connected.local_addr()?)?;
        bound.send_to(b"answer", from)?;
        let len = connected.recv(&mut bytes)?;
        ensure!(&bytes[..len] == b"answer", "{:?}", &bytes[..len]);
    }
    Ok(())
}
