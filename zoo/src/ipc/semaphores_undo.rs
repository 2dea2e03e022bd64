//! A child takes a semaphore with `SEM_UNDO` and ends after the restore: the kernel must give back
//! what it took.

use super::semaphores::{new, operate, set_values, values};
use crate::prelude::*;

pub const GOAL: &str = "what a process owes to System V semaphores is kept, or told as lost";
pub const KIND: Kind = Kind::KeptOrRefused("SEM_UNDO");

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let set = new(0, 1)?;
    set_values(set, &[3])?;
    let child = raw::fork(stage, |stage| {
        operate(set, 0, -2, libc::SEM_UNDO)?;
        stage.mark("child")?;
        stage.wait_for("go")
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    child.join(stage)?;
    ensure!(values::<1>(set)? == [3], "{:?}", values::<1>(set)?);
    Ok(())
}
