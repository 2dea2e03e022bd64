//! Names of anonymous mappings (PR_SET_VMA_ANON_NAME), where the kernel has them.

use crate::prelude::*;

pub const GOAL: &str = "named anonymous mappings survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    memory.fill(0, memory.len, 2);
    let arguments = [0, memory.addr, memory.len, raw::at("a name\0")];
    let named = raw::prctl(libc::PR_SET_VMA, &arguments).is_ok();
    let before = super::maps()?;
    let shown = before.iter().any(|line| line.contains("a name"));
    ensure!(shown == named, "the name is not shown");
    stage.pause()?;
    memory.check(0, memory.len, 2)?;
    super::same_maps(&before)
}
