//! Connections whose other end the same program has closed: with data left to read, and at their end.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "a TCP connection that its peer has closed gives the rest, and then its end";
pub const KIND: Kind = Kind::Survives;

const CLOSE_WAIT: u8 = 8;

pub fn run(stage: &Stage) -> Verdict {
    let (mut closed, mut reader) = super::tcp_pair("127.0.0.1")?;
    closed.write_all(b"last words")?;
    drop(closed);
    let (gone, mut waiting) = super::tcp_pair("127.0.0.1")?;
    drop(gone);
    stage.pause()?;
    ensure!(super::tcp_state(&reader)? == CLOSE_WAIT, "{}", super::tcp_state(&reader)?);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text == "last words", "{text}");
    ensure!(waiting.read(&mut [0; 9])? == 0, "not at its end");
    // The first one is answered with a reset.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while waiting.write(b"anybody there?").is_ok() {
        ensure!(std::time::Instant::now() < deadline, "nobody says that nobody is there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}
