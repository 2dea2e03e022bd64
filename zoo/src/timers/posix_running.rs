//! A fast POSIX timer keeps firing without having been touched.

use crate::prelude::*;

pub const GOAL: &str = "a fast POSIX timer keeps firing with its data";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGUSR1, libc::SA_RESTART, &[])?;
    let timer = super::PosixTimer::signal(libc::CLOCK_BOOTTIME, libc::SIGUSR1, 99)?;
    timer.set(20 * MS, 50 * MS)?;
    stage.pause()?;
    let before = raw::caught().len();
    stage.wait_until("expiries", || Ok(raw::caught().len() >= before + 3))?;
    ensure!(raw::caught().iter().all(|c| c.value == 99), "the data changed");
    Ok(())
}
