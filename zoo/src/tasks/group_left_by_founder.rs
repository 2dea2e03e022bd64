//! Two processes that have founded groups and then gone over to each other's; a third has left.

use crate::prelude::*;

pub const GOAL: &str = "process groups whose founders have left them survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::process::{Pid, setpgid};
    let start = |name: &'static str, other: &'static str| {
        raw::fork(stage, |stage| {
            setpgid(None, None)?;
            stage.mark_with(&format!("founded-{name}"), &raw::getpid().to_string())?;
            stage.wait_for(&format!("founded-{other}"))?;
            let pid = std::fs::read_to_string(stage.path(&format!("founded-{other}")))?;
            // Somebody keeps each group until both have changed.
            stage.wait_for("kept")?;
            setpgid(None, Pid::from_raw(pid.parse()?))?;
            super::keep_ids(stage, name)
        })
    };
    let (first, second) = (start("first", "second")?, start("second", "first")?);
    stage.wait_for("founded-first")?;
    stage.wait_for("founded-second")?;
    let keep = |group: i32| {
        raw::fork(stage, |stage| {
            setpgid(None, Pid::from_raw(group))?;
            stage.mark(&format!("keeps-{group}"))?;
            stage.wait_for("first")?;
            stage.wait_for("second")
        })
    };
    let keepers = [keep(first.pid)?, keep(second.pid)?];
    for group in [first.pid, second.pid] {
        stage.wait_for(&format!("keeps-{group}"))?;
    }
    stage.mark("kept")?;
    keepers.iter().try_for_each(|keeper| keeper.join(stage))?;
    stage.pause()?;
    first.join(stage)?;
    second.join(stage)
}
