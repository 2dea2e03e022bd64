//! Protection keys of mappings, where the processor has them.

use crate::prelude::*;

pub const GOAL: &str = "protection keys survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("protection key");

pub fn run(stage: &Stage) -> Verdict {
    let Ok(key) = raw::syscall(libc::SYS_pkey_alloc, &[0, 0]) else {
        return stage.pause().map(drop);
    };
    let memory = raw::Mapping::private(2 * raw::PAGE)?;
    memory.fill(0, memory.len, 3);
    let arguments = [memory.addr, raw::PAGE, raw::READ_WRITE as usize, key];
    raw::syscall(libc::SYS_pkey_mprotect, &arguments)?;
    stage.pause()?;
    memory.check(0, memory.len, 3)?;
    raw::syscall(libc::SYS_pkey_free, &[key]).context("the key is not allocated any more")?;
    Ok(())
}
