//! A segment of a GiB of which two pages were ever touched, and one that is locked into memory.

use crate::prelude::*;

pub const GOAL: &str = "pages of System V memory that nobody touched are not made; SHM_LOCK is kept";
pub const KIND: Kind = Kind::Survives;

const LEN: usize = 1 << 30;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let id = super::new_memory(0, LEN)?;
    let memory = super::attach(id, LEN, 0)?;
    memory.fill(0, raw::PAGE, 1);
    memory.fill(LEN - raw::PAGE, raw::PAGE, 2);
    let locked = super::new_memory(0, raw::PAGE)?;
    const SHM_LOCK: usize = 11;
    raw::syscall(libc::SYS_shmctl, &[locked, SHM_LOCK, 0])?;
    let before = super::object("shm", locked)?;
    ensure!(before[2] == "2600", "it is not locked: {before:?}");
    stage.pause()?;
    super::same("shm", locked, &before)?;
    memory.check(0, raw::PAGE, 1)?;
    memory.check(LEN - raw::PAGE, raw::PAGE, 2)?;
    let mut status = [0_u64; 14];
    const SHM_INFO: usize = 14;
    raw::syscall(libc::SYS_shmctl, &[0, SHM_INFO, raw::into(&mut status)])?;
    // `struct shm_info`: segments in use, pages of all, pages in memory.
    ensure!(status[2] < 100, "{} pages are in memory", status[2]);
    memory.check_zero(raw::PAGE, 16 * raw::PAGE)
}
