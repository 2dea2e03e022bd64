//! Memory policy of a mapping and of the task (mbind(2), set_mempolicy(2)).

use crate::prelude::*;

pub const GOAL: &str = "NUMA policies survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("policy");

pub fn run(stage: &Stage) -> Verdict {
    const PREFERRED: usize = 1;
    const BIND: usize = 2;
    let memory = raw::Mapping::private(4 * raw::PAGE)?;
    let node = 1_u64;
    // A kernel without NUMA has no policies; then there is nothing to keep.
    if raw::syscall(libc::SYS_set_mempolicy, &[PREFERRED, raw::at(&node), 64]).is_err() {
        return stage.pause().map(drop);
    }
    raw::syscall(libc::SYS_mbind, &[memory.addr, memory.len, BIND, raw::at(&node), 64, 0])?;
    memory.fill(0, memory.len, 1);
    let look = |addr, flags| -> anyhow::Result<_> {
        let (mut mode, mut nodes) = (0_i32, [0_u64; 16]);
        let arguments = [raw::into(&mut mode), raw::into(&mut nodes), 1024, addr, flags];
        raw::syscall(libc::SYS_get_mempolicy, &arguments)?;
        Ok((mode, nodes[0]))
    };
    let before = (look(0, 0)?, look(memory.addr, 2)?);
    stage.pause()?;
    let after = (look(0, 0)?, look(memory.addr, 2)?);
    ensure!(after == before, "{after:?} instead of {before:?}");
    Ok(())
}
