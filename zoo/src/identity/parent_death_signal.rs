//! A child that asked for SIGUSR1 at its parent's death gets it.

use crate::prelude::*;

pub const GOAL: &str = "the parent-death signal survives and is sent";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_CHILD_SUBREAPER, &[1])?;
    let middle = raw::fork(stage, |stage| {
        raw::fork(stage, |stage| {
            raw::catch(libc::SIGUSR1)?;
            raw::prctl(libc::PR_SET_PDEATHSIG, &[libc::SIGUSR1 as usize])?;
            stage.mark("child")?;
            stage.wait_for_go()?;
            let mut signal = 0_i32;
            raw::prctl(libc::PR_GET_PDEATHSIG, &[raw::into(&mut signal)])?;
            ensure!(signal == libc::SIGUSR1, "the signal is {signal}");
            stage.mark("checked")?;
            stage.wait_until("parent-death signal", || Ok(!raw::caught().is_empty()))
        })?;
        stage.wait_for("checked")
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    middle.join(stage)?;
    let (_, status) = raw::wait_for(-1, 0)?;
    ensure!(status == raw::Status::Exited(0), "child: {status:?}");
    Ok(())
}
