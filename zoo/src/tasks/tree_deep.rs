//! A chain of processes, each the child of the one before; at the end each waits for its child and
//! checks that its parent is the same.

use crate::prelude::*;

pub const GOAL: &str = "a deep chain of processes keeps its ancestry and can be waited for";
pub const KIND: Kind = Kind::Survives;

const DEPTH: u32 = 12;

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| descend(stage, DEPTH))?;
    stage.wait_for("bottom")?;
    stage.pause()?;
    child.join(stage)
}

fn descend(stage: &Stage, depth: u32) -> Verdict {
    let parent = rustix::process::getppid();
    if depth == 0 {
        stage.mark("bottom")?;
        stage.wait_for_go()?;
    } else {
        raw::fork(stage, |stage| descend(stage, depth - 1))?.join(stage)?;
    }
    ensure!(rustix::process::getppid() == parent, "parent of {depth} changed");
    Ok(())
}
