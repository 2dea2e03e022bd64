//! Ended children that nobody waited for yet: exit codes and deadly signals.

use crate::prelude::*;

pub const GOAL: &str = "zombies keep their exit code or signal";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut expected = Vec::new();
    for code in [0, 1, 42, 255] {
        let child = raw::fork(stage, |_| raw::exit_now(code))?;
        expected.push((child, raw::Status::Exited(code)));
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGFPE, libc::SIGRTMIN()] {
        let child = raw::fork(stage, |stage| stage.wait_for("never"))?;
        child.kill(signal)?;
        expected.push((child, raw::Status::Killed(signal)));
    }
    for (child, _) in &expected {
        super::wait_until_dead(stage, child.pid)?;
    }
    stage.pause()?;
    for (child, wanted) in expected {
        let status = child.wait().with_context(|| format!("zombie {wanted:?}"))?;
        ensure!(status == wanted, "{status:?} instead of {wanted:?}");
    }
    Ok(())
}
