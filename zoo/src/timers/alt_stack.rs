//! An alternate signal stack on which a handler runs afterwards.

use crate::prelude::*;

pub const GOAL: &str = "the alternate signal stack survives and is used";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let range = raw::set_alt_stack(65536)?;
    raw::catch_with(libc::SIGUSR1, libc::SA_ONSTACK, &[])?;
    let before = raw::alt_stack()?;
    stage.pause()?;
    ensure!(raw::alt_stack()? == before, "{:x?} instead of {before:x?}", raw::alt_stack()?);
    raw::kill(raw::getpid(), libc::SIGUSR1)?;
    let caught = raw::caught();
    let stack = caught.first().context("the handler did not run")?.stack;
    ensure!(range.contains(&stack), "the handler ran on {stack:#x}, not in {range:x?}");
    Ok(())
}
