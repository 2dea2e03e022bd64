//! Calls that go through the vDSO: they work and agree with the system calls.

use std::time::SystemTime;

use crate::prelude::*;

pub const GOAL: &str = "the vDSO lies where it was and tells the right time";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let special = || -> anyhow::Result<Vec<String>> {
        let named = |line: &String| line.contains("[v");
        Ok(super::maps()?.into_iter().filter(named).collect())
    };
    let before = special()?;
    stage.pause()?;
    ensure!(special()? == before, "{:?} instead of {before:?}", special()?);
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, 6] {
        let fast = raw::clock(clock)?;
        let mut time = raw::timespec(Duration::ZERO);
        raw::syscall(libc::SYS_clock_gettime, &[clock as usize, raw::into(&mut time)])?;
        let slow = raw::duration(time);
        ensure!(slow.abs_diff(fast) < 500 * MS, "clock {clock}: {fast:?}, kernel {slow:?}");
    }
    let (now, seconds, cpu) = raw::other_vdso_calls()?;
    let right = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    ensure!(right.abs_diff(now) < 1000 * MS, "gettimeofday: {now:?}");
    ensure!(right.as_secs().abs_diff(seconds as u64) <= 1, "time: {seconds}");
    ensure!(cpu < 4096, "getcpu: {cpu}");
    Ok(())
}
