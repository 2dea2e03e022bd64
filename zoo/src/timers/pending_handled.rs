//! Pending signals with handlers are delivered when they are unblocked, once each.

use crate::prelude::*;

pub const GOAL: &str = "pending signals reach their handlers once unblocked";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signals = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN()];
    raw::block(&signals)?;
    for (&signal, value) in signals.iter().zip(10..) {
        raw::catch(signal)?;
        raw::queue(raw::getpid(), &raw::QueuedInfo::new(signal, libc::SI_QUEUE, value))?;
    }
    stage.pause()?;
    ensure!(raw::caught().is_empty(), "handled while blocked: {:?}", raw::caught());
    raw::unblock(&signals)?;
    let mut seen: Vec<_> = raw::caught().iter().map(|c| (c.signal, c.value)).collect();
    seen.sort_unstable();
    let wanted: Vec<_> = signals.iter().copied().zip(10..).collect();
    ensure!(seen == wanted, "{seen:?} instead of {wanted:?}");
    Ok(())
}
