//! Memory that the kernel may drop (MAP_DROPPABLE).

use crate::prelude::*;

pub const GOAL: &str = "droppable memory comes back droppable";
pub const KIND: Kind = Kind::KeptOrRefused("droppable");

pub fn run(stage: &Stage) -> Verdict {
    const MAP_DROPPABLE: i32 = 8;
    // Older kernels do not have it; then there is nothing to keep.
    let Ok(memory) = raw::Mapping::anonymous(4 * raw::PAGE, MAP_DROPPABLE) else {
        return stage.pause().map(drop);
    };
    memory.fill(0, memory.len, 3);
    let before = super::flags(memory.addr)?;
    stage.pause()?;
    let after = super::flags(memory.addr)?;
    ensure!(after == before, "{after} instead of {before}");
    memory.check(0, memory.len, 3)
}
