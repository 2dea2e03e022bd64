//! Thirty children, each with memory of its own, that end with different codes.

use crate::prelude::*;

pub const GOAL: &str = "many children keep their memory, pids and exit codes";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut children = Vec::new();
    for number in 0..30_u8 {
        children.push(raw::fork(stage, |stage| {
            let memory = raw::Mapping::private(4 * raw::PAGE)?;
            memory.fill(0, memory.len, number);
            let pid = raw::getpid();
            stage.mark(&format!("at-{number}"))?;
            stage.wait_for_go()?;
            memory.check(0, memory.len, number)?;
            ensure!(raw::getpid() == pid, "pid changed from {pid} to {}", raw::getpid());
            raw::exit_now(i32::from(number) + 100)
        })?);
    }
    (0..30).try_for_each(|number| stage.wait_for(&format!("at-{number}")))?;
    stage.pause()?;
    for (number, child) in (100..).zip(children) {
        let status = child.wait()?;
        ensure!(status == raw::Status::Exited(number), "{status:?} instead of {number}");
    }
    Ok(())
}
