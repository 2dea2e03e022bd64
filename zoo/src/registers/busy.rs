//! A task that burns CPU in user mode keeps running: its counter goes on.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "a task that makes no system call keeps running";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let values = [7; 13];
    let busy = std::thread::spawn(move || raw::hold_integers(&values));
    stage.pause()?;
    let before = raw::ROUNDS.load(Ordering::SeqCst);
    stage.wait_until("more rounds", || Ok(raw::ROUNDS.load(Ordering::SeqCst) > before))?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    ensure!(busy.join().expect("nobody panics") == values, "registers changed");
    Ok(())
}
