//! `/dev/tty` opened by the leader of a session: another name of its controlling terminal.

use std::{fs::File, io::{Read, Write}};

use crate::prelude::*;

pub const GOAL: &str = "/dev/tty that is open stays the session's terminal";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (master, slave) = super::open_terminal()?;
    let leader = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(&slave)?;
        let mut tty = File::options().read(true).write(true).open("/dev/tty")?;
        stage.mark("leader")?;
        stage.wait_for_go()?;
        tty.write_all(b"hello")?;
        Ok(())
    })?;
    stage.wait_for("leader")?;
    stage.pause()?;
    leader.join(stage)?;
    let mut bytes = [0; 100];
    let len = File::from(master).read(&mut bytes)?;
    ensure!(&bytes[..len] == b"hello");
    Ok(())
}
