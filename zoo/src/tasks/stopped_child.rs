//! A child stopped by SIGSTOP stays stopped and goes on with SIGCONT; its parent, who had not yet
//! been told, is told now.

use crate::prelude::*;

pub const GOAL: &str = "a stopped task stays stopped until SIGCONT";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("continued")
    })?;
    stage.wait_for("child")?;
    child.kill(libc::SIGSTOP)?;
    super::wait_for_state(stage, child.pid, 'T')?;
    stage.pause()?;
    std::thread::sleep(20 * MS);
    let state = super::state(child.pid)?;
    ensure!(state == 'T', "child is in state {state}");
    let status = child.wait_with(libc::WUNTRACED)?;
    ensure!(status == raw::Status::Stopped(libc::SIGSTOP), "{status:?}");
    child.kill(libc::SIGCONT)?;
    stage.mark("continued")?;
    child.join(stage)
}
