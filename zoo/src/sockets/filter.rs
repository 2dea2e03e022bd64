//! A packet filter attached to a socket, and one that is locked.

use std::{net::UdpSocket, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "socket filters survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("filter");

pub fn run(stage: &Stage) -> Verdict {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let step = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Lets the first nine bytes through: the header and one of the data.
    let filter = [step(libc::BPF_RET | libc::BPF_K, 9)];
    let program = [filter.len(), raw::at(&filter)];
    let (level, name) = (libc::SOL_SOCKET as usize, libc::SO_ATTACH_FILTER as usize);
    let arguments = [socket.as_raw_fd() as usize, level, name, raw::at(&program), 16];
    raw::syscall(libc::SYS_setsockopt, &arguments)?;
    stage.pause()?;
    socket.send_to(b"long message", socket.local_addr()?)?;
    let len = socket.recv(&mut [0; 100])?;
    ensure!(len == 1, "{len} bytes came through");
    Ok(())
}
