//! Personality bits of a thread: no address randomisation, read implies execute.

use crate::prelude::*;

pub const GOAL: &str = "the personality survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let wanted = libc::ADDR_NO_RANDOMIZE | libc::SHORT_INODE | libc::STICKY_TIMEOUTS;
    raw::syscall(libc::SYS_personality, &[wanted as usize])?;
    super::keep(stage, || {
        let now = raw::syscall(libc::SYS_personality, &[0xffff_ffff])?;
        Ok(vec![format!("{now:x}")])
    })
}
