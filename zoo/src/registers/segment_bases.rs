//! Thread-local storage of several threads (FS base), and a GS base that was set by hand.

use std::cell::Cell;

use crate::prelude::*;

pub const GOAL: &str = "thread-local storage and the GS base survive in every thread";
pub const KIND: Kind = Kind::Survives;

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

pub fn run(stage: &Stage) -> Verdict {
    let threads: Vec<_> = (1..6_u64)
        .map(|number| {
            let stage = stage.clone();
            std::thread::spawn(move || hold(&stage, number))
        })
        .collect();
    stage.wait_until("threads", || Ok((1..6).all(|n| stage.path(&format!("at-{n}")).exists())))?;
    MINE.set(77);
    stage.pause()?;
    ensure!(MINE.get() == 77, "main thread: {}", MINE.get());
    threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
}

fn hold(stage: &Stage, number: u64) -> Verdict {
    MINE.set(number);
    raw::set_gs_base(number << 40)?;
    stage.mark(&format!("at-{number}"))?;
    stage.wait_for_go()?;
    ensure!(MINE.get() == number, "thread {number} has the storage of {}", MINE.get());
    let base = raw::gs_base()?;
    ensure!(base == number << 40, "thread {number} has the GS base {base:#x}");
    Ok(())
}
