//! A raw IP socket.

use crate::prelude::*;

pub const GOAL: &str = "raw IP sockets survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("raw");

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?;
    stage.pause()?;
    super::options(&socket, &[(libc::SOL_SOCKET, libc::SO_PROTOCOL)]).map(drop)
}
