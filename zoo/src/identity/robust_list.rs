//! A robust futex held by a thread that ends afterwards is marked as owned by the dead.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "the robust futex list works: a dead owner is noticed";
pub const KIND: Kind = Kind::Survives;

/// Where things lie in the mapping: `struct robust_list_head` (get_robust_list(2)), which is link,
/// offset from a link to its lock, and pending link; then one entry with its lock.
const HEAD: usize = 0;
const ENTRY: usize = 64;
const LOCK: usize = 72;
const OWNER_DIED: u32 = 0x4000_0000;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(raw::PAGE)?;
    let link = |place, to: usize| memory.write(place, &to.to_ne_bytes());
    link(HEAD, memory.addr + ENTRY);
    link(HEAD + 8, LOCK - ENTRY);
    link(ENTRY, memory.addr + HEAD);
    let head = memory.addr + HEAD;
    let stage_of_thread = stage.clone();
    let memory = std::sync::Arc::new(memory);
    let lock = std::sync::Arc::clone(&memory);
    std::thread::spawn(move || -> Verdict {
        lock.word(LOCK).store(raw::gettid() as u32, Ordering::SeqCst);
        raw::syscall(libc::SYS_set_robust_list, &[head, 24])?;
        stage_of_thread.mark("locked")?;
        stage_of_thread.wait_for_go()?;
        // Ends this thread at once, with the lock held.
        raw::syscall(libc::SYS_exit, &[0])?;
        Ok(())
    });
    stage.wait_for("locked")?;
    stage.pause()?;
    let died = || Ok(memory.word(LOCK).load(Ordering::SeqCst) & OWNER_DIED != 0);
    stage.wait_until("FUTEX_OWNER_DIED", died)
}
