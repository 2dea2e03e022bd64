//! The file-creation mask.

use crate::prelude::*;

pub const GOAL: &str = "the file-creation mask survives";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::syscall(libc::SYS_umask, &[0o137])?;
    super::keep(stage, || super::status(&["Umask"]))
}
