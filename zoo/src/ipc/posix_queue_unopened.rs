//! A POSIX message queue that nobody has open, in an IPC namespace of the program's own.

use crate::prelude::*;

pub const GOAL: &str = "POSIX message queues that nobody has open are refused by name";
pub const KIND: Kind = Kind::Refused("POSIX message queue /zoo-unopened");

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let name = "zoo-unopened\0";
    let flags = (libc::O_CREAT | libc::O_RDWR) as usize;
    let fd = raw::syscall(libc::SYS_mq_open, &[raw::at(name), flags, 0o600, 0])?;
    raw::syscall(libc::SYS_close, &[fd])?;
    stage.pause()?;
    raw::syscall(libc::SYS_mq_unlink, &[raw::at(name)])?;
    Ok(())
}
