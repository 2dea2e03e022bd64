//! An attached System V shared memory segment.

use crate::prelude::*;

pub const GOAL: &str = "System V shared memory survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("System V");

pub fn run(stage: &Stage) -> Verdict {
    let id = raw::syscall(libc::SYS_shmget, &[0, 4 * raw::PAGE, 0o1600])?;
    let addr = raw::syscall(libc::SYS_shmat, &[id, 0, 0])?;
    // Gone when the last one has left it, whatever becomes of us.
    raw::syscall(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])?;
    let memory = raw::Mapping { addr, len: 4 * raw::PAGE };
    memory.fill(0, memory.len, 4);
    stage.pause()?;
    memory.check(0, memory.len, 4)
}
