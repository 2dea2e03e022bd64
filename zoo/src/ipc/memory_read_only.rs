//! A segment attached twice, once with `SHM_RDONLY`: that one may never be written, not even after
//! mprotect(2).

use crate::prelude::*;

pub const GOAL: &str = "read-only attachments of System V memory stay read-only for good";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let id = super::new_memory(2, 2 * raw::PAGE)?;
    let memory = super::attach(id, 2 * raw::PAGE, 0)?;
    let reader = super::attach(id, 2 * raw::PAGE, libc::SHM_RDONLY)?;
    memory.fill(0, 2 * raw::PAGE, 3);
    // Looks the same in maps, but may be made writable again.
    let protected = super::attach(id, 2 * raw::PAGE, 0)?;
    let prot = libc::PROT_READ as usize;
    raw::syscall(libc::SYS_mprotect, &[protected.addr, protected.len, prot])?;
    stage.pause()?;
    reader.check(0, 2 * raw::PAGE, 3)?;
    memory.fill(0, raw::PAGE, 4);
    reader.check(0, raw::PAGE, 4)?;
    let writable = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let refused = raw::syscall(libc::SYS_mprotect, &[reader.addr, reader.len, writable]);
    ensure!(refused.is_err(), "the read-only attachment can be made writable");
    raw::syscall(libc::SYS_mprotect, &[protected.addr, protected.len, writable])?;
    protected.fill(0, raw::PAGE, 5);
    memory.check(0, raw::PAGE, 5)
}
