//! A zombie that leads a process group and a session of its own, with a living member.

use crate::prelude::*;

pub const GOAL: &str = "a zombie keeps its process group, which still holds a living member";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::process::{Pid, getpgid, setpgid};
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
    super::wait_until_dead(stage, leader.pid)?;
    stage.pause()?;
    let group = getpgid(Pid::from_raw(leader.pid))?;
    ensure!(group.as_raw_pid() == leader.pid, "zombie is in group {}", group.as_raw_pid());
    member.join(stage)?;
    leader.join(stage)
}
