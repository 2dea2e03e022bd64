//! rt_sigtimedwait(2) without a time-out, as sigwait(3) uses it, ends when the signal comes.

use crate::prelude::*;

pub const GOAL: &str = "sigwait(3) waits until the signal comes";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::block(&[libc::SIGUSR1])?;
    let pid = raw::getpid();
    super::woken(stage, move || Ok(raw::kill(pid, libc::SIGUSR1)?), || {
        let set = raw::bit(libc::SIGUSR1);
        let signal = raw::syscall(libc::SYS_rt_sigtimedwait, &[raw::at(&set), 0, 0, 8]);
        let signal = signal.context("sigtimedwait")?;
        ensure!(signal as i32 == libc::SIGUSR1, "signal {signal}");
        Ok(())
    })
}
