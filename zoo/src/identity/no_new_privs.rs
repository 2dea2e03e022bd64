//! The no_new_privs attribute.

use crate::prelude::*;

pub const GOAL: &str = "no_new_privs survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::prctl(libc::PR_SET_NO_NEW_PRIVS, &[1, 0, 0, 0])?;
    super::keep(stage, || super::prctls(&[libc::PR_GET_NO_NEW_PRIVS]))
}
