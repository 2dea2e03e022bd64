//! Memory of a process with many threads that somebody outside of the tree watches by userfaultfd(2): no descriptor
//! tells of it, only a flag of the mapping.

use crate::prelude::*;

pub const GOAL: &str = "memory that is watched from outside of the tree is refused by name";
pub const KIND: Kind = Kind::Refused("memory watched by userfaultfd(2)");

pub fn run(stage: &Stage) -> Verdict {
    const NR_THREADS: usize = 40;
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.fill(0, memory.len, 1);
    let fd = super::watch(&memory)?;
    super::outside(stage, |stage| stage.wait_for_go().map(drop))?;
    raw::syscall(libc::SYS_close, &[fd])?;
    (0..NR_THREADS).for_each(|_| drop(std::thread::spawn(std::thread::park)));
    stage.pause()?;
    memory.check(0, memory.len, 1)
}
