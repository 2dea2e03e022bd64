//! Ambient capabilities of an ordinary user.

use crate::prelude::*;

pub const GOAL: &str = "ambient capabilities survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_KEEPCAPS, &[1])?;
    raw::syscall(libc::SYS_setresuid, &[1234; 3])?;
    let some = 1 << 10 | 1 << 12;
    super::set_capabilities(some, some, some)?;
    for capability in [10, 12] {
        let raise = [libc::PR_CAP_AMBIENT_RAISE as usize, capability, 0, 0];
        raw::prctl(libc::PR_CAP_AMBIENT, &raise)?;
    }
    super::keep(stage, || super::status(&["Uid", "Cap"]))
}
