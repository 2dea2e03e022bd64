//! Sockets that are only created, and sockets that are only bound.

use std::{os::unix::net::UnixDatagram, os::unix::net::UnixListener};

use crate::prelude::*;

pub const GOAL: &str = "unix sockets that are only created or bound survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};
    let created = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    let bound = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    let address = SocketAddrUnix::new(stage.path("bound"))?;
    bind(&bound, &address)?;
    let datagram = UnixDatagram::bind(stage.path("datagram"))?;
    let listener = UnixListener::bind(stage.path("listener"))?;
    stage.pause()?;
    listen(&bound, 3).context("the bound socket cannot listen")?;
    let client = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    connect(&client, &address).context("nobody at the bound address")?;
    connect(&created, &SocketAddrUnix::new(stage.path("listener"))?)?;
    listener.accept()?;
    UnixDatagram::unbound()?.send_to(b"x", stage.path("datagram"))?;
    ensure!(datagram.recv(&mut [0; 9])? == 1, "another socket has the address");
    Ok(())
}
