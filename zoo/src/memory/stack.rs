//! A deep stack is intact, and the stack grows further afterwards.

use crate::prelude::*;

pub const GOAL: &str = "the stack keeps its contents and grows";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    raw::use_stack(300, &mut || {
        stage.pause()?;
        raw::use_stack(2000, &mut || Ok(()))
    })
}
