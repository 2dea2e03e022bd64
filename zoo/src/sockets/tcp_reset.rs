//! A connection that is to be closed by the checkpoint. Who was not away finds it as it was.

use std::{
    io::{ErrorKind::{ConnectionReset, NotConnected}, Read, Write},
    net::{TcpListener, TcpStream},
};

use crate::prelude::*;

pub const GOAL: &str = "a closed TCP connection is reset, and its listening socket works";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"hello")?;
    let still = stage.pause()?;
    let mut bytes = [0; 5];
    if still.min.is_zero() {
        server.read_exact(&mut bytes)?;
        ensure!(&bytes == b"hello", "{bytes:?}");
    } else {
        for end in [&mut client, &mut server] {
            let error = end.read(&mut bytes).map_err(|error| error.kind());
            ensure!(matches!(error, Err(ConnectionReset | NotConnected)), "{error:?}");
        }
    }
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"again")?;
    server.read_exact(&mut bytes)?;
    ensure!(&bytes == b"again", "{bytes:?}");
    Ok(())
}
