//! A hundred threads, each with a name, a signal mask, thread-local storage and an alternate signal
//! stack of its own, and its own thread id.

use std::cell::Cell;

use crate::prelude::*;

pub const GOAL: &str = "many threads keep ids, names, masks, local storage and signal stacks";
pub const KIND: Kind = Kind::Survives;

const COUNT: u64 = 100;

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

pub fn run(stage: &Stage) -> Verdict {
    let threads: Vec<_> = (0..COUNT)
        .map(|number| {
            let stage = stage.clone();
            let name = format!("worker {number}");
            std::thread::Builder::new().name(name).spawn(move || hold(&stage, number))
        })
        .collect::<Result<_, _>>()?;
    let marked = |number| stage.path(&format!("at-{number}")).exists();
    stage.wait_until("threads", || Ok((0..COUNT).all(marked)))?;
    stage.pause()?;
    threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
}

fn hold(stage: &Stage, number: u64) -> Verdict {
    MINE.set(number);
    let mask = raw::mask()? | (number << 40);
    raw::set_mask(mask)?;
    raw::set_alt_stack(16384 + 4096 * number as usize)?;
    let look = || anyhow::Ok((raw::gettid(), raw::alt_stack()?, super::comm()?));
    let before = look()?;
    stage.mark(&format!("at-{number}"))?;
    stage.wait_for_go()?;
    ensure!(MINE.get() == number, "thread {number} has the storage of {}", MINE.get());
    ensure!(raw::mask()? == mask, "mask {:#x} instead of {mask:#x}", raw::mask()?);
    ensure!(look()? == before, "{:?} instead of {before:?}", look()?);
    Ok(())
}
