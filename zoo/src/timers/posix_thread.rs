//! A POSIX timer that signals one certain thread.

use crate::prelude::*;

pub const GOAL: &str = "a POSIX timer directed at a thread still signals that thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch_with(libc::SIGUSR1, libc::SA_RESTART, &[])?;
    let stage_of_thread = stage.clone();
    let thread = std::thread::spawn(move || -> Verdict {
        let tid = raw::gettid();
        let timer = super::PosixTimer::thread(libc::CLOCK_MONOTONIC, libc::SIGUSR1, 5, tid)?;
        timer.set(60_000 * MS, 30 * MS)?;
        stage_of_thread.mark("timer")?;
        stage_of_thread.wait_for_go()?;
        timer.set(30 * MS, 30 * MS)?;
        stage_of_thread.wait_until("expiries", || Ok(raw::caught().len() >= 3))?;
        let wrong = raw::caught().into_iter().find(|c| c.tid != tid);
        ensure!(wrong.is_none(), "{wrong:?} instead of thread {tid}");
        Ok(())
    });
    stage.wait_for("timer")?;
    stage.pause()?;
    thread.join().expect("nobody panics")
}
