//! A segment that was removed while attached: it goes with the last who detaches it, not before.

use crate::prelude::*;

pub const GOAL: &str = "System V memory that is marked for removal goes when it is detached";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let id = super::new_memory(3, raw::PAGE)?;
    let memory = super::attach(id, raw::PAGE, 0)?;
    raw::syscall(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])?;
    memory.fill(0, raw::PAGE, 6);
    let before = super::object("shm", id)?;
    ensure!(before[2] == "1600", "it is not marked: {before:?}");
    stage.pause()?;
    super::same("shm", id, &before)?;
    memory.check(0, raw::PAGE, 6)?;
    super::detach(&memory)?;
    ensure!(super::object("shm", id).is_err(), "it did not go");
    Ok(())
}
