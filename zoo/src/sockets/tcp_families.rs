//! Connections over IPv6, and over IPv4 with an IPv6 socket.

use std::{io::{Read, Write}, net::{Shutdown, TcpListener, TcpStream}};

use crate::prelude::*;

pub const GOAL: &str = "TCP connections of IPv6 sockets go on, or end, as those of IPv4";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut pairs = Vec::new();
    // A machine without IPv6 has nothing to keep there.
    if let Ok(both) = TcpListener::bind("[::]:0") {
        let port = both.local_addr()?.port();
        for address in ["::1", "127.0.0.1"] {
            let client = TcpStream::connect((address, port))?;
            pairs.push((client, both.accept()?.0));
            let half = TcpStream::connect((address, port))?;
            half.shutdown(Shutdown::Write)?;
            pairs.push((half, both.accept()?.0));
        }
    }
    for (client, server) in &mut pairs {
        server.write_all(b"hello")?;
        client.set_nodelay(true)?;
    }
    crate::files::keep(stage, || {
        let mut seen = Vec::new();
        for end in pairs.iter().flat_map(|(client, server)| [client, server]) {
            let (local, peer) = (end.local_addr()?, end.peer_addr()?);
            seen.push(format!("{local} {peer} {}", super::tcp_state(end)?));
        }
        Ok(seen)
    })?;
    for (index, (client, server)) in pairs.iter_mut().enumerate() {
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes)?;
        ensure!(&bytes == b"hello", "{bytes:?}");
        if index % 2 == 1 {
            ensure!(server.read(&mut bytes)? == 0, "not at its end");
            continue;
        }
        client.write_all(b"world")?;
        server.read_exact(&mut bytes)?;
        ensure!(&bytes == b"world", "{bytes:?}");
    }
    Ok(())
}
