//! A session whose leader is a zombie.

use crate::prelude::*;

pub const GOAL: &str = "a session whose leader is a zombie survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let leader = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        let leader = raw::getpid();
        raw::fork(stage, |stage| {
            let adopted = || rustix::process::getppid().is_some_and(|p| p.as_raw_pid() != leader);
            stage.wait_until("adoption", || Ok(adopted()))?;
            super::keep_ids(stage, "member")
        })?;
        Ok(())
    })?;
    stage.wait_for("member")?;
    super::wait_until_dead(stage, leader.pid)?;
    stage.pause()?;
    leader.join(stage)?;
    let (_, status) = raw::wait_for(-1, 0)?;
    ensure!(status == raw::Status::Exited(0), "member: {status:?}");
    Ok(())
}
