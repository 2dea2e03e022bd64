//! pause(2) ends with EINTR only when a handled signal arrives.

use crate::prelude::*;

pub const GOAL: &str = "pause(2) goes on until a signal is handled";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch(libc::SIGUSR1)?;
    let pid = raw::getpid();
    super::woken(stage, move || Ok(raw::kill(pid, libc::SIGUSR1)?), || {
        let result = raw::syscall(libc::SYS_pause, &[]).map_err(|e| e.raw_os_error());
        ensure!(result == Err(Some(libc::EINTR)), "pause: {result:?}");
        ensure!(raw::caught().len() == 1, "handlers ran {} times", raw::caught().len());
        Ok(())
    })
}
