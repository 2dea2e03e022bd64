//! A session whose leader is a zombie.

use crate::prelude::*;

pub const GOAL: &str = "a session whose leader is a zombie survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let leader = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        raw::fork(stage, |stage| super::keep_ids(stage, "member"))?;
        stage.wait_for("member")
    })?;
    super::wait_until_dead(stage, leader.pid)?;
    stage.pause()?;
    leader.join(stage)?;
    let (_, status) = raw::wait_for(-1, 0)?;
    ensure!(status == raw::Status::Exited(0), "member: {status:?}");
    Ok(())
}
