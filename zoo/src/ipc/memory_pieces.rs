//! Of one attachment the second page was unmapped, the fourth protected and the last one moved to
//! another place; private memory lies in the hole. shmdt(2) must take away what is still in its
//! place, all at once.

use crate::prelude::*;

pub const GOAL: &str = "pieces of attached System V memory come back as pieces of one attachment";
pub const KIND: Kind = Kind::Survives;

const LEN: usize = 6 * raw::PAGE;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let id = super::new_memory(1, LEN)?;
    let memory = super::attach(id, LEN, 0)?;
    for page in 0..6 {
        memory.fill(page * raw::PAGE, raw::PAGE, page as u8 + 1);
    }
    let page = |number: usize| memory.addr + number * raw::PAGE;
    raw::syscall(libc::SYS_munmap, &[page(1), raw::PAGE])?;
    let flags = (libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    raw::syscall(libc::SYS_mmap, &[page(1), raw::PAGE, prot, flags, usize::MAX, 0])?;
    memory.fill(raw::PAGE, raw::PAGE, 77);
    raw::syscall(libc::SYS_mprotect, &[page(3), raw::PAGE, libc::PROT_READ as usize])?;
    let may_move = libc::MREMAP_MAYMOVE as usize | libc::MREMAP_FIXED as usize;
    let target = raw::Mapping::shared(3 * raw::PAGE)?;
    let to = target.addr + raw::PAGE;
    raw::syscall(libc::SYS_mremap, &[page(5), raw::PAGE, raw::PAGE, may_move, to])?;
    let before = super::object("shm", id)?;
    stage.pause()?;
    super::same("shm", id, &before)?;
    for (index, value) in [1, 77, 3, 4, 5].into_iter().enumerate() {
        memory.check(index * raw::PAGE, raw::PAGE, value)?;
    }
    let moved = raw::Mapping { addr: to - 5 * raw::PAGE, len: LEN };
    moved.check(5 * raw::PAGE, raw::PAGE, 6)?;
    raw::syscall(libc::SYS_shmdt, &[memory.addr])?;
    memory.check(raw::PAGE, raw::PAGE, 77)?;
    let after = super::object("shm", id)?;
    ensure!(after[4] == "1", "shmdt left {after:?} of {before:?}");
    Ok(())
}
