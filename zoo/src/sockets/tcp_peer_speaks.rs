//! A connection to a process outside the tree that says one number after the other all the time, also
//! while the tree is away.

use std::{fs, io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};

use crate::prelude::*;

pub const GOAL: &str = "a peer that speaks while the tree is away is not told that nobody is there";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::stranger(stage, peer)?;
    stage.wait_for("port")?;
    let port: u16 = fs::read_to_string(stage.path("port"))?.trim().parse()?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut next = 0_u64;
    let mut hear = || -> Verdict {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes)?;
        ensure!(u64::from_ne_bytes(bytes) == next, "{bytes:?} instead of {next}");
        next += 1;
        Ok(())
    };
    hear()?;
    stage.pause()?;
    (0..100).try_for_each(|_| hear())
}

fn peer(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    stage.mark_with("port", &listener.local_addr()?.port().to_string())?;
    let (mut stream, _) = listener.accept()?;
    for number in 0_u64.. {
        if stream.write_all(&number.to_ne_bytes()).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
