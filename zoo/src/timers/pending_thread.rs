//! Signals pending for single threads only, each with its data.

use crate::prelude::*;

pub const GOAL: &str = "signals pending for one thread stay with that thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signal = libc::SIGRTMIN() + 1;
    raw::block(&[signal, libc::SIGUSR1])?;
    let hold = move |stage: &Stage, number: usize| -> Verdict {
        let info = raw::QueuedInfo::new(signal, libc::SI_QUEUE, number);
        raw::queue_to_task(raw::gettid(), &info)?;
        stage.mark(&format!("at-{number}"))?;
        stage.wait_for_go()?;
        let info = raw::take(&[signal], MS).with_context(|| format!("thread {number}"))?;
        ensure!(info.value == number, "thread {number} got the signal of {}", info.value);
        ensure!(raw::pending()? == 0, "thread {number} has {:#x} pending", raw::pending()?);
        Ok(())
    };
    let threads: Vec<_> = (1..5)
        .map(|number| {
            let stage = stage.clone();
            std::thread::spawn(move || hold(&stage, number))
        })
        .collect();
    (1..5).try_for_each(|number| stage.wait_for(&format!("at-{number}")))?;
    stage.pause()?;
    ensure!(raw::pending()? == 0, "main thread has {:#x} pending", raw::pending()?);
    threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
}
