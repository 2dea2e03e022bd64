//! An accepted connection between two sockets of the tree, with names and data.

use std::{io::{Read, Write}, os::unix::net::{UnixListener, UnixStream}};

use crate::prelude::*;

pub const GOAL: &str = "connected unix sockets with names stay connected";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("socket");
    let listener = UnixListener::bind(&path)?;
    let mut client = UnixStream::connect(&path)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"question")?;
    let look = || Ok(vec![format!("{:?} {:?}", client.peer_addr()?, server.local_addr()?)]);
    crate::files::keep(stage, look)?;
    let mut bytes = [0; 8];
    server.read_exact(&mut bytes)?;
    ensure!(&bytes == b"question", "{bytes:?}");
    server.write_all(b"solution")?;
    client.read_exact(&mut bytes)?;
    ensure!(&bytes == b"solution", "{bytes:?}");
    drop(UnixStream::connect(&path).context("the listener takes nobody any more")?);
    Ok(())
}
