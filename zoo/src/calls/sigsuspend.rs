//! rt_sigsuspend(2) with a mask of its own: ends when the signal arrives, then the mask is back.

use crate::prelude::*;

pub const GOAL: &str = "sigsuspend(2) goes on with its mask and puts the former one back";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch(libc::SIGUSR1)?;
    let tid = raw::gettid();
    let before = raw::mask()? | raw::bit(libc::SIGUSR1);
    let wake = move || {
        let pid = raw::getpid() as usize;
        raw::syscall(libc::SYS_tgkill, &[pid, tid as usize, libc::SIGUSR1 as usize])?;
        Ok(())
    };
    super::woken(stage, wake, || {
        raw::set_mask(before)?;
        let during = raw::bit(libc::SIGUSR2);
        let result = raw::syscall(libc::SYS_rt_sigsuspend, &[raw::at(&during), 8]);
        let result = result.map_err(|e| e.raw_os_error());
        ensure!(result == Err(Some(libc::EINTR)), "sigsuspend: {result:?}");
        ensure!(raw::mask()? == before, "mask {:#x} instead of {before:#x}", raw::mask()?);
        ensure!(raw::caught().len() == 1, "handlers ran {} times", raw::caught().len());
        Ok(())
    })
}
