//! A datagram that is held back with UDP_CORK.

use std::{net::UdpSocket, os::fd::AsFd};

use crate::prelude::*;

pub const GOAL: &str = "a datagram held back survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("cork");

pub fn run(stage: &Stage) -> Verdict {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    super::set_option(sender.as_fd(), libc::IPPROTO_UDP, libc::UDP_CORK, 1)?;
    sender.send(b"first ")?;
    stage.pause()?;
    sender.send(b"second")?;
    super::set_option(sender.as_fd(), libc::IPPROTO_UDP, libc::UDP_CORK, 0)?;
    let mut bytes = [0; 100];
    let len = receiver.recv(&mut bytes)?;
    ensure!(&bytes[..len] == b"first second", "{:?}", &bytes[..len]);
    Ok(())
}
