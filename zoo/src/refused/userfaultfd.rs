//! A userfaultfd with a registered range.

use crate::prelude::*;

pub const GOAL: &str = "userfaultfd is refused by name";
pub const KIND: Kind = Kind::Refused("userfaultfd");

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.fill(0, memory.len, 1);
    let fd = super::watch(&memory)?;
    stage.pause()?;
    memory.check(0, memory.len, 1)?;
    let mut event = [0_u64; 4];
    let none = raw::syscall(libc::SYS_read, &[fd, raw::into(&mut event), 32]);
    let none = none.map_err(|e| e.raw_os_error());
    ensure!(none == Err(Some(libc::EAGAIN)), "a fault out of nowhere: {none:?}");
    Ok(())
}
