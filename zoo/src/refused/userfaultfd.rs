//! A userfaultfd with a registered range.

use crate::prelude::*;

pub const GOAL: &str = "userfaultfd is refused by name";
pub const KIND: Kind = Kind::Refused("userfaultfd");

pub fn run(stage: &Stage) -> Verdict {
    const UFFDIO_API: usize = 0xc018_aa3f;
    const UFFDIO_REGISTER: usize = 0xc020_aa00;
    let fd = raw::syscall(libc::SYS_userfaultfd, &[libc::O_NONBLOCK as usize])?;
    let mut api = [0xaa_u64, 0, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_API, raw::into(&mut api)])?;
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.fill(0, memory.len, 1);
    let mut register = [memory.addr as u64, memory.len as u64, 1, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_REGISTER, raw::into(&mut register)])?;
    stage.pause()?;
    memory.check(0, memory.len, 1)?;
    let mut event = [0_u64; 4];
    let none = raw::syscall(libc::SYS_read, &[fd, raw::into(&mut event), 32]);
    let none = none.map_err(|e| e.raw_os_error());
    ensure!(none == Err(Some(libc::EAGAIN)), "a fault out of nowhere: {none:?}");
    Ok(())
}
