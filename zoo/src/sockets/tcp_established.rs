//! An established TCP connection within the tree.

use std::{io::{Read, Write}, net::{TcpListener, TcpStream}};

use crate::prelude::*;

pub const GOAL: &str = "an established TCP connection survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("connection");

pub fn run(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    drop(listener);
    client.write_all(b"hello")?;
    stage.pause()?;
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes)?;
    ensure!(&bytes == b"hello", "{bytes:?}");
    server.write_all(b"world")?;
    client.read_exact(&mut bytes)?;
    ensure!(&bytes == b"world", "{bytes:?}");
    Ok(())
}
