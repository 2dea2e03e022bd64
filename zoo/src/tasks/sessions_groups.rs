//! Children in a session of their own, in a group of their own, in the group of a sibling, and in
//! the group of their parent.

use crate::prelude::*;

pub const GOAL: &str = "sessions and process groups of children survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let hold = |stage: &Stage, name: &str| super::keep_ids(stage, name);
    let session = raw::fork(stage, |stage| {
        rustix::process::setsid()?;
        let inner = raw::fork(stage, |stage| {
            rustix::process::setpgid(None, None)?;
            hold(stage, "inner")
        })?;
        hold(stage, "session")?;
        inner.join(stage)
    })?;
    let group = raw::fork(stage, |stage| {
        rustix::process::setpgid(None, None)?;
        hold(stage, "group")
    })?;
    stage.wait_for("group")?;
    let sibling = raw::fork(stage, |stage| {
        rustix::process::setpgid(None, rustix::process::Pid::from_raw(group.pid))?;
        hold(stage, "sibling")
    })?;
    let plain = raw::fork(stage, |stage| hold(stage, "plain"))?;
    for name in ["session", "inner", "sibling", "plain"] {
        stage.wait_for(name)?;
    }
    stage.pause()?;
    [session, group, sibling, plain].iter().try_for_each(|child| child.join(stage))
}
