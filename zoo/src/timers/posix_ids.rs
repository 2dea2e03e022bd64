//! POSIX timers whose ids have gaps; the next one made gets an id that is free.

use crate::prelude::*;

pub const GOAL: &str = "POSIX timers keep their ids, also with gaps between";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let make = |n| super::PosixTimer::signal(libc::CLOCK_MONOTONIC, libc::SIGUSR1, n);
    let timers: Vec<_> = (0..10).map(make).collect::<Result<_, _>>()?;
    let (keep, gone): (Vec<_>, Vec<_>) = timers.iter().partition(|t| t.id % 3 == 1);
    gone.iter().try_for_each(|timer| timer.delete())?;
    for timer in &keep {
        timer.set(Duration::from_secs(1000 + timer.id as u64), Duration::ZERO)?;
    }
    stage.pause()?;
    for timer in &keep {
        let (left, _) = timer.get().with_context(|| format!("timer {}", timer.id))?;
        let wanted = Duration::from_secs(1000 + timer.id as u64);
        ensure!(left <= wanted && left + 30_000 * MS > wanted, "timer {}: {left:?}", timer.id);
    }
    ensure!(gone.iter().all(|timer| timer.get().is_err()), "a deleted timer is back");
    let new = make(0)?;
    ensure!(keep.iter().all(|timer| timer.id != new.id), "id {} twice", new.id);
    Ok(())
}
