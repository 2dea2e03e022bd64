//! A submission ring of io_uring.

use crate::prelude::*;

pub const GOAL: &str = "io_uring is refused by name";
pub const KIND: Kind = Kind::Refused("io_uring");

pub fn run(stage: &Stage) -> Verdict {
    let mut parameters = [0_u8; 120];
    let fd = raw::syscall(libc::SYS_io_uring_setup, &[8, raw::into(&mut parameters)])?;
    stage.pause()?;
    // Submitting nothing must still be possible.
    raw::syscall(libc::SYS_io_uring_enter, &[fd, 0, 0, 0, 0, 0]).context("io_uring_enter")?;
    Ok(())
}
