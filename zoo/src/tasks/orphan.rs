//! A grandchild whose parent ended; a subreaper in the tree became its parent.

use crate::prelude::*;

pub const GOAL: &str = "an adopted grandchild stays with its subreaper";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let me = raw::getpid();
    let middle = raw::fork(stage, |stage| {
        raw::fork(stage, |stage| {
            stage.wait_for("middle-gone")?;
            let adopted = || rustix::process::getppid().is_some_and(|p| p.as_raw_pid() == me);
            ensure!(adopted(), "not adopted");
            stage.mark("adopted")?;
            stage.wait_for_go()?;
            ensure!(adopted(), "parent {:?} instead of {me}", rustix::process::getppid());
            raw::exit_now(9)
        })?;
        Ok(())
    })?;
    middle.join(stage)?;
    stage.mark("middle-gone")?;
    stage.wait_for("adopted")?;
    stage.pause()?;
    let (_, status) = raw::wait_for(-1, 0)?;
    ensure!(status == raw::Status::Exited(9), "{status:?}");
    Ok(())
}
