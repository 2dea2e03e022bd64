//! A connected pair of stream sockets with data in both directions.

use std::{io::{Read, Write}, os::unix::net::UnixStream};

use crate::prelude::*;

pub const GOAL: &str = "a stream socket pair keeps its data and goes on working";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (mut a, mut b) = UnixStream::pair()?;
    let much: Vec<u8> = (0..50_000_u32).map(|i| (i / 3) as u8).collect();
    a.write_all(&much)?;
    b.write_all(b"back")?;
    stage.pause()?;
    let mut bytes = vec![0; much.len()];
    b.read_exact(&mut bytes)?;
    ensure!(bytes == much, "the data changed");
    let mut bytes = [0; 4];
    a.read_exact(&mut bytes)?;
    ensure!(&bytes == b"back", "{bytes:?}");
    a.write_all(b"more")?;
    b.read_exact(&mut bytes)?;
    ensure!(&bytes == b"more", "{bytes:?}");
    drop(a);
    ensure!(b.read(&mut bytes)? == 0, "not at its end");
    Ok(())
}
