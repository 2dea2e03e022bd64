//! accept4(2) on a listening TCP socket; the client comes after the restore.

use std::net::{TcpListener, TcpStream};

use crate::prelude::*;

pub const GOAL: &str = "accept(2) waits for a connection";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connect = move || {
        TcpStream::connect(address)?;
        Ok(())
    };
    super::woken(stage, connect, || {
        let (_, from) = listener.accept().context("accept")?;
        ensure!(from.ip().is_loopback(), "connection from {from}");
        Ok(())
    })
}
