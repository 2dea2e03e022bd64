//! Two threads hold different values in the same vector registers.

use crate::prelude::*;

pub const GOAL: &str = "each thread keeps its own floating-point registers";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let first = [[0x11; 16]; 16];
    let second = [[0x77; 16]; 16];
    let thread = std::thread::spawn(move || raw::hold_sse(&first));
    let after = super::in_busy_loop(stage, move || raw::hold_sse(&second))?;
    ensure!(after == second, "second thread: {after:x?}");
    let after = thread.join().expect("nobody panics");
    ensure!(after == first, "first thread: {after:x?}");
    Ok(())
}
