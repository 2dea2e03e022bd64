//! A POSIX message queue with a message.

use crate::prelude::*;

pub const GOAL: &str = "POSIX message queues survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("queue");

pub fn run(stage: &Stage) -> Verdict {
    let name = format!("zoo-{}\0", raw::getpid());
    let flags = (libc::O_CREAT | libc::O_RDWR | libc::O_NONBLOCK) as usize;
    let fd = raw::syscall(libc::SYS_mq_open, &[raw::at(&*name), flags, 0o600, 0])?;
    raw::syscall(libc::SYS_mq_unlink, &[raw::at(&*name)])?;
    raw::syscall(libc::SYS_mq_timedsend, &[fd, raw::at("hello"), 5, 1, 0])?;
    stage.pause()?;
    let mut bytes = [0_u8; 8192];
    let len = raw::syscall(libc::SYS_mq_timedreceive, &[fd, raw::into(&mut bytes), 8192, 0, 0])?;
    ensure!(&bytes[..len] == b"hello", "{:?}", &bytes[..len]);
    Ok(())
}
