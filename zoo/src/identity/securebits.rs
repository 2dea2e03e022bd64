//! Secure bits, some of them locked, and the keep-capabilities flag.

use crate::prelude::*;

pub const GOAL: &str = "secure bits survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    // SECBIT_NOROOT, SECBIT_NOROOT_LOCKED, SECBIT_KEEP_CAPS, SECBIT_NO_CAP_AMBIENT_RAISE.
    raw::prctl(libc::PR_SET_SECUREBITS, &[0x1 | 0x2 | 0x10 | 0x40])?;
    super::keep(stage, || super::prctls(&[libc::PR_GET_SECUREBITS, libc::PR_GET_KEEPCAPS]))
}
