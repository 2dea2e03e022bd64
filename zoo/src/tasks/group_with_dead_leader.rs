//! A process group whose leader has ended and was waited for.

use crate::prelude::*;

pub const GOAL: &str = "a process group outlives its leader";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::process::{Pid, setpgid};
    let leader = raw::fork(stage, |stage| {
        setpgid(None, None)?;
        stage.mark("leader")?;
        stage.wait_for("member")
    })?;
    stage.wait_for("leader")?;
    let member = raw::fork(stage, |stage| {
        setpgid(None, Pid::from_raw(leader.pid))?;
        super::keep_ids(stage, "member")
    })?;
    leader.join(stage)?;
    stage.pause()?;
    member.join(stage)
}
