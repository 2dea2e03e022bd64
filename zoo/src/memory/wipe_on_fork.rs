//! Memory that a child finds empty: wiped there, kept in the parent.

use crate::prelude::*;

pub const GOAL: &str = "memory to be wiped on fork keeps its contents and is wiped on the next fork";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.advise(0, memory.len, libc::MADV_WIPEONFORK)?;
    memory.fill(0, memory.len, 3);
    let early = raw::fork(stage, |stage| {
        memory.check_zero(0, memory.len)?;
        stage.mark("child")?;
        stage.wait_for_go()?;
        memory.check_zero(0, memory.len)
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    memory.check(0, memory.len, 3)?;
    early.join(stage)?;
    raw::fork(stage, |_| memory.check_zero(0, memory.len))?.join(stage)
}
