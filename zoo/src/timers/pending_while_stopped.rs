//! Signals that are pending for a stopped child, with SIGCONT to come.

use crate::prelude::*;

pub const GOAL: &str = "signals pending for a stopped task are delivered after SIGCONT";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| {
        raw::catch(libc::SIGUSR1)?;
        stage.mark("child")?;
        stage.wait_until("signal", || Ok(!raw::caught().is_empty()))
    })?;
    stage.wait_for("child")?;
    child.kill(libc::SIGSTOP)?;
    crate::tasks::wait_for_state(stage, child.pid, 'T')?;
    child.kill(libc::SIGUSR1)?;
    stage.pause()?;
    child.kill(libc::SIGCONT)?;
    child.join(stage)
}
