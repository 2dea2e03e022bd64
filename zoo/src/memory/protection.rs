//! Memory without access, read-only memory with contents, execute-only memory.

use crate::prelude::*;

pub const GOAL: &str = "protection bits survive, also over pages with contents";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let page = raw::PAGE;
    let memory = raw::Mapping::private(16 * page)?;
    memory.fill(0, 16 * page, 9);
    memory.protect(0, 4 * page, libc::PROT_NONE)?;
    memory.protect(4 * page, 4 * page, libc::PROT_READ)?;
    memory.protect(8 * page, 4 * page, libc::PROT_READ | libc::PROT_EXEC)?;
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    ensure!(!memory.readable(page), "memory without access can be read");
    ensure!(!memory.writable(5 * page), "read-only memory can be written");
    memory.protect(0, 4 * page, libc::PROT_READ)?;
    memory.check(0, 16 * page, 9)
}
