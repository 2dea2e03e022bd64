//! A stopped child whose parent was told already is not reported a second time.

use crate::prelude::*;

pub const GOAL: &str = "a stop that the parent has seen is not reported again";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    // In an orphaned process group SIGTSTP would be ignored; one of its own is not orphaned.
    let child = raw::fork(stage, |stage| {
        rustix::process::setpgid(None, None)?;
        stage.mark("child")?;
        stage.wait_for("continued")
    })?;
    stage.wait_for("child")?;
    child.kill(libc::SIGTSTP)?;
    let status = child.wait_with(libc::WUNTRACED)?;
    ensure!(status == raw::Status::Stopped(libc::SIGTSTP), "{status:?}");
    stage.pause()?;
    let (pid, status) = raw::wait_for(child.pid, libc::WUNTRACED | libc::WNOHANG)?;
    ensure!(pid == 0, "reported again: {status:?}");
    child.kill(libc::SIGCONT)?;
    stage.mark("continued")?;
    child.join(stage)
}
