//! A process that shares its parent's memory without being a thread (CLONE_VM).

use crate::prelude::*;

pub const GOAL: &str = "processes that share one address space are refused by name";
pub const KIND: Kind = Kind::Refused("CLONE_VM");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::clone_sharing_memory(0)?;
    stage.pause()?;
    raw::kill(child, libc::SIGKILL)?;
    let (_, status) = raw::wait_for(child, 0)?;
    ensure!(status == raw::Status::Killed(libc::SIGKILL), "{status:?}");
    Ok(())
}
