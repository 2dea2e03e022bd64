//! A packet socket.

use crate::prelude::*;

pub const GOAL: &str = "packet sockets survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("packet");

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::PACKET, SocketType::DGRAM, None)?;
    stage.pause()?;
    super::options(&socket, &[(libc::SOL_SOCKET, libc::SO_TYPE)]).map(drop)
}
