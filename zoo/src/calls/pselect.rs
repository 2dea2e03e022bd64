//! pselect6(2) with a time-out and a signal mask: the mask before is back afterwards.

use crate::prelude::*;

pub const GOAL: &str = "pselect6(2) times out after the time that remained";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::block(&[libc::SIGUSR1])?;
    let before = raw::mask()?;
    super::timed(stage, |time| {
        let mut time = raw::timespec(time);
        let during = raw::bit(libc::SIGUSR2);
        let mask = [raw::at(&during), 8];
        let arguments = [0, 0, 0, 0, raw::into(&mut time), raw::at(&mask)];
        Ok(raw::syscall(libc::SYS_pselect6, &arguments)?)
    })?;
    ensure!(raw::mask()? == before, "mask {:#x} instead of {before:#x}", raw::mask()?);
    Ok(())
}
