//! An established TCP connection within the tree, with data and with options.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "an established TCP connection goes on, with its data and its options";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut client, mut server) = super::tcp_pair("127.0.0.1")?;
    client.set_nodelay(true)?;
    client.set_nonblocking(true)?;
    super::set_option(&server, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    super::set_option(&server, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 77)?;
    client.write_all(b"hello")?;
    crate::files::keep(stage, || {
        let addresses = [client.local_addr()?, client.peer_addr()?, server.peer_addr()?];
        let mut seen: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        for end in [&client, &server] {
            seen.push(super::options(end, super::TCP_OPTIONS)?);
            seen.push(super::tcp_state(end)?.to_string());
        }
        Ok(seen)
    })?;
    let blocks = client.read(&mut [0; 5]).expect_err("there is nothing to read");
    ensure!(blocks.kind() == std::io::ErrorKind::WouldBlock, "{blocks}");
    client.set_nonblocking(false)?;
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes)?;
    ensure!(&bytes == b"hello", "{bytes:?}");
    server.write_all(b"world")?;
    client.read_exact(&mut bytes)?;
    ensure!(&bytes == b"world", "{bytes:?}");
    drop(server);
    ensure!(client.read(&mut bytes)? == 0, "the end did not come");
    Ok(())
}
