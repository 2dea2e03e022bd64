//! The peer credentials recorded in a connected socket.

use std::{os::fd::AsRawFd, os::unix::net::UnixStream};

use crate::prelude::*;

pub const GOAL: &str = "the recorded peer credentials survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (a, b) = UnixStream::pair()?;
    let peer = |socket: &UnixStream| -> anyhow::Result<String> {
        let (mut ids, mut len) = ([0_i32; 3], 12_u32);
        let (level, name) = (libc::SOL_SOCKET as usize, libc::SO_PEERCRED as usize);
        let fd = socket.as_raw_fd() as usize;
        let arguments = [fd, level, name, raw::into(&mut ids), raw::into(&mut len)];
        raw::syscall(libc::SYS_getsockopt, &arguments)?;
        Ok(format!("pid, uid, gid {ids:?}"))
    };
    crate::files::keep(stage, || Ok(vec![peer(&a)?, peer(&b)?]))
}
