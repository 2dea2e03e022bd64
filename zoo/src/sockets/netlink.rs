//! A kernel-message socket, bound, with a multicast group.

use std::os::fd::AsRawFd;

use crate::prelude::*;

pub const GOAL: &str = "netlink sockets survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("netlink");

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let fd = socket.as_raw_fd() as usize;
    // Family, port id, groups: sockaddr_nl (netlink(7)).
    let address = [libc::AF_NETLINK as u32, 0, 1];
    raw::syscall(libc::SYS_bind, &[fd, raw::at(&address), 12])?;
    crate::files::keep(stage, || {
        let (mut address, mut len) = ([0_u32; 3], 12_u32);
        raw::syscall(libc::SYS_getsockname, &[fd, raw::into(&mut address), raw::into(&mut len)])?;
        Ok(vec![format!("{address:?}")])
    })
}
