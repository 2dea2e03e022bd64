//! A session whose leader has ended and was waited for; its child lives on below a subreaper.

use crate::prelude::*;

pub const GOAL: &str = "a session outlives its leader";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let leader = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        raw::fork(stage, |stage| {
            stage.wait_for("leader-gone")?;
            super::keep_ids(stage, "member")
        })?;
        Ok(())
    })?;
    leader.join(stage)?;
    stage.mark("leader-gone")?;
    stage.wait_for("member")?;
    stage.pause()?;
    let (_, status) = raw::wait_for(-1, 0)?;
    ensure!(status == raw::Status::Exited(0), "member: {status:?}");
    Ok(())
}
