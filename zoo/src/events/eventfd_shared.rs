//! An eventfd shared by parent and child: what one adds the other reads.

use rustix::event::{EventfdFlags, eventfd};

use crate::prelude::*;

pub const GOAL: &str = "an eventfd shared by parent and child stays one counter";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let counter = eventfd(5, EventfdFlags::NONBLOCK)?;
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        stage.wait_for("added")?;
        let count = super::read_count(&counter)?;
        ensure!(count == Some(12), "the child read {count:?}");
        Ok(())
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    rustix::io::write(&counter, &7_u64.to_ne_bytes())?;
    stage.mark("added")?;
    child.join(stage)
}
