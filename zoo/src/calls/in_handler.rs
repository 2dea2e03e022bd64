//! Frozen inside a signal handler that interrupted a sleep: the handler returns to where it came
//! from, with the mask that was set there.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "a task frozen inside a signal handler returns from it correctly";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::HOLD_HANDLER.store(1, Ordering::SeqCst);
    raw::catch_with(libc::SIGUSR1, 0, &[libc::SIGUSR2, libc::SIGHUP])?;
    raw::block(&[libc::SIGWINCH])?;
    let before = raw::mask()?;
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
    ensure!(raw::mask()? == before, "mask {:#x} instead of {before:#x}", raw::mask()?);
    Ok(())
}
