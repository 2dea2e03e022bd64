//! Packet mode (TIOCPKT): what a master reads begins with a byte that tells of the slave.

use std::{fs::File, io::{Read, Write}, os::fd::AsRawFd};

use crate::prelude::*;

pub const GOAL: &str = "a master in packet mode stays so, with what it has not read";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    let on = 1_i32;
    let arguments = [master.as_raw_fd() as usize, libc::TIOCPKT as usize, raw::at(&on)];
    raw::syscall(libc::SYS_ioctl, &arguments)?;
    slave.write_all(b"before")?;
    stage.pause()?;
    let mut next = || -> anyhow::Result<Vec<u8>> {
        let mut bytes = [0; 100];
        let len = master.read(&mut bytes)?;
        Ok(bytes[..len].to_vec())
    };
    ensure!(next()? == b"\0before");
    slave.write_all(b"after")?;
    ensure!(next()? == b"\0after");
    Ok(())
}
