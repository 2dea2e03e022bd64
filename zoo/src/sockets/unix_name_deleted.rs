//! A listening socket whose name was deleted, and one whose name now belongs to another socket.

use std::{fs, os::unix::net::{UnixListener, UnixStream}};

use crate::prelude::*;

pub const GOAL: &str = "unix sockets whose name is gone or taken survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("socket");

pub fn run(stage: &Stage) -> Verdict {
    let path = stage.path("socket");
    let old = UnixListener::bind(&path)?;
    let mut client = UnixStream::connect(&path)?;
    let (mut server, _) = old.accept()?;
    fs::remove_file(&path)?;
    let new = UnixListener::bind(&path)?;
    stage.pause()?;
    ensure!(old.local_addr()?.as_pathname() == Some(&*path), "the old name is forgotten");
    let _late = UnixStream::connect(&path)?;
    new.set_nonblocking(true)?;
    new.accept().context("the name leads to the old socket")?;
    use std::io::{Read, Write};
    client.write_all(b"x")?;
    server.read_exact(&mut [0]).context("the old connection is broken")?;
    Ok(())
}
