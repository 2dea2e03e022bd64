//! A segment made by one user, given to another, with a mode of its own; the program runs as a third.

use crate::prelude::*;

pub const GOAL: &str = "creator, owner and mode of System V memory are kept, and it is attached by \
                        whom the kernel would refuse today";
pub const KIND: Kind = Kind::Survives;

const NOBODY: usize = usize::MAX;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let become_effective = |gid: usize, uid: usize| -> Verdict {
        raw::syscall(libc::SYS_setresgid, &[NOBODY, gid, NOBODY])?;
        raw::syscall(libc::SYS_setresuid, &[NOBODY, uid, NOBODY])?;
        Ok(())
    };
    become_effective(1002, 1001)?;
    let id = super::new_memory(0x77, raw::PAGE)?;
    raw::syscall(libc::SYS_setresuid, &[NOBODY, 0, NOBODY])?;
    raw::syscall(libc::SYS_setresgid, &[NOBODY, 0, NOBODY])?;
    let mut status = [0_u32; 28];
    raw::syscall(libc::SYS_shmctl, &[id, libc::IPC_STAT as usize, raw::into(&mut status)])?;
    // Owner, group and mode of `struct ipc64_perm`.
    (status[1], status[2], status[5]) = (1003, 1004, 0o640);
    raw::syscall(libc::SYS_shmctl, &[id, libc::IPC_SET as usize, raw::at(&status)])?;
    let memory = super::attach(id, raw::PAGE, 0)?;
    memory.fill(0, raw::PAGE, 9);
    let before = super::object("shm", id)?;
    ensure!(before.ends_with(&["1003", "1004", "1001", "1002"].map(str::to_owned)), "{before:?}");
    raw::syscall(libc::SYS_setresgid, &[2000, 2000, 2000])?;
    raw::syscall(libc::SYS_setresuid, &[2000, 2000, 2000])?;
    let refused = raw::syscall(libc::SYS_shmat, &[id, 0, 0]);
    ensure!(refused.is_err(), "anybody may attach it");
    stage.pause()?;
    super::same("shm", id, &before)?;
    memory.check(0, raw::PAGE, 9)?;
    let refused = raw::syscall(libc::SYS_shmat, &[id, 0, 0]);
    ensure!(refused.is_err(), "anybody may attach it now");
    Ok(())
}
