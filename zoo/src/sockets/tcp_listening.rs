//! Listening TCP sockets, IPv4 and IPv6, and one for both: they take a connection afterwards.

use std::net::{TcpListener, TcpStream};

use crate::prelude::*;

pub const GOAL: &str = "listening TCP sockets keep their address and take connections";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut listeners = vec![TcpListener::bind("127.0.0.1:0")?];
    // A machine without IPv6 has nothing to keep there.
    listeners.extend(TcpListener::bind("[::1]:0"));
    listeners.extend(TcpListener::bind("[::]:0"));
    crate::files::keep(stage, || {
        listeners.iter().map(|l| Ok(l.local_addr()?.to_string())).collect()
    })?;
    for listener in &listeners {
        let address = listener.local_addr()?;
        let client = TcpStream::connect(address).with_context(|| address.to_string())?;
        let (_, from) = listener.accept()?;
        ensure!(from == client.local_addr()?, "{from}");
    }
    if let [_, _, both] = &listeners[..] {
        TcpStream::connect(("127.0.0.1", both.local_addr()?.port()))?;
        both.accept().context("no IPv4 on the socket for both")?;
    }
    Ok(())
}
