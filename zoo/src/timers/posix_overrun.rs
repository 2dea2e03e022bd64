//! A fast timer whose signal is blocked: one signal is pending, and it tells of overruns.

use crate::prelude::*;

pub const GOAL: &str = "overruns of a POSIX timer are counted on";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signal = libc::SIGRTMIN() + 2;
    raw::block(&[signal])?;
    let timer = super::PosixTimer::signal(libc::CLOCK_MONOTONIC, signal, 3)?;
    timer.set(5 * MS, 5 * MS)?;
    std::thread::sleep(100 * MS);
    stage.pause()?;
    let info = raw::take(&[signal], 1000 * MS).context("no expiry is pending")?;
    ensure!(info.code == libc::SI_TIMER, "code {}", info.code);
    ensure!(info.value == 3, "data {}", info.value);
    std::thread::sleep(100 * MS);
    raw::take(&[signal], 1000 * MS).context("the timer does not fire any more")?;
    ensure!(timer.overrun()? >= 5, "only {} overruns in 100 ms", timer.overrun()?);
    Ok(())
}
