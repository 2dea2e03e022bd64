//! A long calculation with the processor's floating-point unit gives the same result as one that
//! was not disturbed.

use std::sync::atomic::Ordering;

use crate::prelude::*;

pub const GOAL: &str = "floating-point calculations under way give the right result";
pub const KIND: Kind = Kind::Survives;

/// One round takes a few milliseconds and always ends at the same number.
fn round() -> u64 {
    let mut x = 0.3_f64;
    for i in 0..200_000_u32 {
        x = 3.9 * x * (1.0 - x) + f64::from(i % 3) * 1e-9;
    }
    x.to_bits()
}

pub fn run(stage: &Stage) -> Verdict {
    let right = round();
    let thread = std::thread::spawn(move || {
        let mut rounds = 0_u32;
        while raw::LET_GO.load(Ordering::SeqCst) == 0 {
            if round() != right {
                return Err(rounds);
            }
            rounds += 1;
        }
        Ok(rounds)
    });
    stage.pause()?;
    raw::LET_GO.store(1, Ordering::SeqCst);
    match thread.join().expect("nobody panics") {
        Ok(rounds) => ensure!(rounds > 0, "no round was made"),
        Err(round) => bail!("round {round} gave another number"),
    }
    Ok(())
}
