//! A listening socket with a connection that nobody has accepted yet.

use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};

use crate::prelude::*;

pub const GOAL: &str = "a TCP connection waiting to be accepted survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("connection");

pub fn run(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"hello")?;
    stage.pause()?;
    let (mut server, _) = listener.accept()?;
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes)?;
    ensure!(&bytes == b"hello", "{bytes:?}");
    Ok(())
}
