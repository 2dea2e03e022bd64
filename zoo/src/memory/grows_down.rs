//! A mapping made with MAP_GROWSDOWN grows when the page below it is touched.

use crate::prelude::*;

pub const GOAL: &str = "a mapping that grows downwards still grows";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let page = raw::PAGE;
    // Room below, found by mapping and unmapping it: the gap that the kernel wants is 256 pages.
    let room = raw::Mapping::private(1024 * page)?;
    room.unmap(0, room.len)?;
    let top = room.addr + 1000 * page;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN | libc::MAP_FIXED;
    raw::Mapping::new(top, 4 * page, raw::READ_WRITE, flags, -1, 0)?;
    let memory = raw::Mapping { addr: room.addr, len: room.len };
    memory.fill(1000 * page, 4 * page, 1);
    memory.fill(998 * page, 2 * page, 2);
    let before = super::maps()?;
    stage.pause()?;
    super::same_maps(&before)?;
    memory.check(1000 * page, 4 * page, 1)?;
    memory.check(998 * page, 2 * page, 2)?;
    memory.fill(990 * page, 8 * page, 3);
    memory.check(990 * page, 8 * page, 3)
}
