//! A connection to a process that is not of the tree. It answers each byte with the next one.

use std::{fs, io::{Read, Write}, net::{TcpListener, TcpStream}};

use crate::prelude::*;

pub const GOAL: &str = "a peer outside the tree does not notice that the tree was away";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::stranger(stage, peer)?;
    stage.wait_for("port")?;
    let port: u16 = fs::read_to_string(stage.path("port"))?.trim().parse()?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut ask = |byte: u8| -> Verdict {
        let mut answer = [0];
        stream.write_all(&[byte])?;
        stream.read_exact(&mut answer)?;
        ensure!(answer == [byte + 1], "{answer:?} for {byte}");
        Ok(())
    };
    ask(1)?;
    stage.pause()?;
    (2..100).try_for_each(&mut ask)
}

fn peer(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    stage.mark_with("port", &listener.local_addr()?.port().to_string())?;
    let (mut stream, _) = listener.accept()?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&[byte[0] + 1])?;
    }
    Ok(())
}
