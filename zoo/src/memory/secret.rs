//! Memory that not even the kernel can read (memfd_secret(2)) cannot be saved.

use crate::prelude::*;

pub const GOAL: &str = "secret memory is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("secret");

pub fn run(stage: &Stage) -> Verdict {
    // Off unless the kernel was started for it; then there is nothing to refuse.
    let Ok(fd) = raw::syscall(libc::SYS_memfd_secret, &[0]) else {
        return stage.pause().map(drop);
    };
    raw::syscall(libc::SYS_ftruncate, &[fd, raw::PAGE])?;
    let flags = libc::MAP_SHARED;
    let memory = raw::Mapping::new(0, raw::PAGE, raw::READ_WRITE, flags, fd as i32, 0)?;
    memory.fill(0, raw::PAGE, 1);
    stage.pause()?;
    memory.check(0, raw::PAGE, 1)
}
