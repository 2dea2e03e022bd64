//! Locked memory: mlock(2), mlock2(2) on fault, and mlockall(2) for the future.

use crate::prelude::*;

pub const GOAL: &str = "locked memory stays locked, also on fault only";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let now = raw::Mapping::private(9 * raw::PAGE)?;
    now.protect(8 * raw::PAGE, raw::PAGE, libc::PROT_NONE)?;
    let later = raw::Mapping::private(9 * raw::PAGE)?;
    later.protect(8 * raw::PAGE, raw::PAGE, libc::PROT_NONE)?;
    raw::syscall(libc::SYS_mlock, &[now.addr, 8 * raw::PAGE])?;
    raw::syscall(libc::SYS_mlock2, &[later.addr, 8 * raw::PAGE, 1])?;
    now.fill(0, raw::PAGE, 4);
    later.fill(0, raw::PAGE, 5);
    let look = || -> anyhow::Result<_> {
        let text = std::fs::read_to_string("/proc/self/status")?;
        let locked = text.lines().find(|line| line.starts_with("VmLck")).unwrap_or_default();
        Ok((super::flags(now.addr)?, super::flags(later.addr)?, locked.to_owned()))
    };
    let before = look()?;
    stage.pause()?;
    ensure!(look()? == before, "{:?} instead of {before:?}", look()?);
    now.check(0, raw::PAGE, 4)?;
    later.check(0, raw::PAGE, 5)
}
