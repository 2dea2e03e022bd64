//! A thread watches the monotonic and the boot clock all the time: they never run backwards, and
//! do not jump ahead by more than the standstill.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "clocks never run backwards and do not jump far ahead";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let watch = std::thread::spawn(|| -> anyhow::Result<Duration> {
        let mut longest = Duration::ZERO;
        let clocks = [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME];
        let look = || clocks.map(raw::clock);
        let mut last = look();
        while raw::LET_GO.load(Ordering::SeqCst) == 0 {
            let now = look();
            for (last, now) in last.iter().zip(&now) {
                let (Ok(last), Ok(now)) = (last, now) else { bail!("a clock cannot be read") };
                ensure!(now >= last, "from {last:?} back to {now:?}");
                longest = longest.max(*now - *last);
            }
            last = now;
        }
        Ok(longest)
    });
    let still = stage.pause()?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    let longest = watch.join().expect("nobody panics")?;
    ensure!(longest < still.max + 2000 * MS, "jumped ahead by {longest:?} ({still:?})");
    Ok(())
}
