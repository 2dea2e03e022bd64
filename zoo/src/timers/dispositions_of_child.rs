//! Parent and child with different handlers for the same signal.

use crate::prelude::*;

pub const GOAL: &str = "each process keeps its own signal handlers";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::catch(libc::SIGUSR1)?;
    let child = raw::fork(stage, |stage| {
        raw::set_action(libc::SIGUSR1, libc::SIG_IGN, 0, &[])?;
        stage.mark("child")?;
        stage.wait_for_go()?;
        raw::kill(raw::getpid(), libc::SIGUSR1)?;
        ensure!(raw::caught().is_empty(), "the child has its parent's handler");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    raw::kill(raw::getpid(), libc::SIGUSR1)?;
    ensure!(raw::caught().len() == 1, "the parent's handler ran {} times", raw::caught().len());
    child.join(stage)
}
