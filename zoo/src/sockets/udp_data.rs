//! Datagrams waiting in a bound UDP socket.

use std::net::UdpSocket;

use crate::prelude::*;

pub const GOAL: &str = "waiting UDP datagrams survive, are refused, or told as a loss";
pub const KIND: Kind = Kind::KeptOrRefused("datagram");

pub fn run(stage: &Stage) -> Verdict {
    let bound = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.send_to(b"first", bound.local_addr()?)?;
    sender.send_to(b"second", bound.local_addr()?)?;
    stage.pause()?;
    bound.set_nonblocking(true)?;
    let mut bytes = [0; 10];
    for text in [&b"first"[..], b"second"] {
        let (len, from) = bound.recv_from(&mut bytes)?;
        ensure!(&bytes[..len] == text && from == sender.local_addr()?, "{:?}", &bytes[..len]);
    }
    Ok(())
}
