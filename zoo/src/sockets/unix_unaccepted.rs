//! A connection that nobody has accepted yet, with data already sent.

use std::{io::{Read, Write}, os::unix::net::{UnixListener, UnixStream}};

use crate::prelude::*;

pub const GOAL: &str = "connections waiting to be accepted survive, with their data";
pub const KIND: Kind = Kind::KeptOrRefused("accepted");

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("socket");
    let listener = UnixListener::bind(&path)?;
    let mut clients = [UnixStream::connect(&path)?, UnixStream::connect(&path)?];
    clients[0].write_all(b"first ")?;
    clients[1].write_all(b"second")?;
    stage.pause()?;
    listener.set_nonblocking(true)?;
    for (client, text) in clients.iter_mut().zip([b"first ", b"second"]) {
        let (mut server, _) = listener.accept().context("no connection is waiting")?;
        server.set_nonblocking(false)?;
        let mut bytes = [0; 6];
        server.read_exact(&mut bytes)?;
        ensure!(&bytes == text, "{bytes:?} instead of {text:?}");
        server.write_all(b"answer")?;
        client.read_exact(&mut bytes)?;
        ensure!(&bytes == b"answer", "{bytes:?}");
    }
    Ok(())
}
