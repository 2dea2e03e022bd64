//! Memory of a process with many threads that somebody outside of the tree watches by userfaultfd(2): no descriptor
//! tells of it, only a flag of the mapping.

use crate::prelude::*;

pub const GOAL: &str = "memory that is watched from outside of the tree is refused by name";
pub const KIND: Kind = Kind::Refused("memory watched by userfaultfd(2)");

pub fn run(stage: &Stage) -> Verdict {
    const UFFDIO_API: usize = 0xc018_aa3f;
    const UFFDIO_REGISTER: usize = 0xc020_aa00;
    const NR_THREADS: usize = 40;
    let fd = raw::syscall(libc::SYS_userfaultfd, &[libc::O_NONBLOCK as usize])?;
    let mut api = [0xaa_u64, 0, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_API, raw::into(&mut api)])?;
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.fill(0, memory.len, 1);
    let mut register = [memory.addr as u64, memory.len as u64, 1, 0];
    raw::syscall(libc::SYS_ioctl, &[fd, UFFDIO_REGISTER, raw::into(&mut register)])?;
    super::outside(stage, |stage| stage.wait_for_go().map(drop))?;
    raw::syscall(libc::SYS_close, &[fd])?;
    (0..NR_THREADS).for_each(|_| drop(std::thread::spawn(std::thread::park)));
    stage.pause()?;
    memory.check(0, memory.len, 1)
}
