//! Children wait in semop(2), one to take what is not there yet, one until a semaphore is zero.

use super::semaphores::{new, operate, set_values, values};
use crate::prelude::*;

pub const GOAL: &str = "who waits for a System V semaphore goes on waiting, and gets it";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let set = new(0, 2)?;
    set_values(set, &[1, 3])?;
    let taker = raw::fork(stage, |stage| {
        stage.mark("taker")?;
        operate(set, 0, -3, 0)
    })?;
    let waiter = raw::fork(stage, |stage| {
        stage.mark("waiter")?;
        operate(set, 1, 0, 0)
    })?;
    stage.wait_for("taker")?;
    stage.wait_for("waiter")?;
    stage.pause()?;
    ensure!(values::<2>(set)? == [1, 3], "{:?}", values::<2>(set)?);
    operate(set, 0, 2, 0)?;
    taker.join(stage)?;
    operate(set, 1, -3, 0)?;
    waiter.join(stage)?;
    ensure!(values::<2>(set)? == [0, 0], "{:?}", values::<2>(set)?);
    Ok(())
}
