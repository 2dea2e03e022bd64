//! Semaphore mode of an eventfd survives. Adds 3, says ready, waits; then three reads must give 1
//! each and the fourth must not. A plain counter would give 3 at once.

use rustix::event::{EventfdFlags, eventfd};

use crate::prelude::*;

pub const GOAL: &str = "semaphore mode of an eventfd survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let counter = eventfd(3, EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK)?;
    stage.pause()?;
    for _ in 0..3 {
        let count = super::read_count(&counter)?;
        ensure!(count == Some(1), "read {count:?}");
    }
    ensure!(super::read_count(&counter)?.is_none(), "a fourth read gave something");
    Ok(())
}
