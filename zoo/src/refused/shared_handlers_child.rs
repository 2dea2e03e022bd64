//! A process that shares memory and signal handlers with its parent (CLONE_VM | CLONE_SIGHAND).

use crate::prelude::*;

pub const GOAL: &str = "processes that share signal handlers are refused by name";
pub const KIND: Kind = Kind::Refused("CLONE_");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::clone_sharing_memory(libc::CLONE_SIGHAND | libc::CLONE_FILES)?;
    stage.pause()?;
    raw::kill(child, libc::SIGKILL)?;
    let (_, status) = raw::wait_for(child, 0)?;
    ensure!(status == raw::Status::Killed(libc::SIGKILL), "{status:?}");
    Ok(())
}
