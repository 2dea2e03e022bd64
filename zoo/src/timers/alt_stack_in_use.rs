//! Frozen while a handler runs on the alternate stack.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "an alternate signal stack that is in use survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::set_alt_stack(65536)?;
    let before = raw::alt_stack()?;
    raw::HOLD_HANDLER.store(1, Ordering::SeqCst);
    raw::catch_with(libc::SIGUSR1, libc::SA_ONSTACK, &[])?;
    let stage_of_thread = stage.clone();
    let release = std::thread::spawn(move || -> Verdict {
        stage_of_thread.wait_until("handler", || Ok(raw::caught().len() == 1))?;
        stage_of_thread.pause()?;
        raw::HOLD_HANDLER.store(0, Ordering::SeqCst);
        Ok(())
    });
    let (pid, tid) = (raw::getpid() as usize, raw::gettid() as usize);
    raw::syscall(libc::SYS_tgkill, &[pid, tid, libc::SIGUSR1 as usize])?;
    release.join().expect("nobody panics")?;
    ensure!(raw::alt_stack()? == before, "{:x?} instead of {before:x?}", raw::alt_stack()?);
    Ok(())
}
