//! waitpid(2) for a child that ends after the restore.

use crate::prelude::*;

pub const GOAL: &str = "waitpid(2) waits until the child ends and gets its exit code";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| {
        stage.wait_for_go()?;
        raw::exit_now(37)
    })?;
    stage.ready()?;
    let status = child.wait().context("waitpid")?;
    ensure!(status == raw::Status::Exited(37), "{status:?}");
    Ok(())
}
