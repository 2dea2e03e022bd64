//! Fifty queued real-time signals of three numbers come in their order.

use crate::prelude::*;

pub const GOAL: &str = "queued real-time signals keep their order";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let signals: Vec<i32> = (0..3).map(|i| libc::SIGRTMIN() + 2 * i).collect();
    raw::block(&signals)?;
    for value in 0..50 {
        let info = raw::QueuedInfo::new(signals[value % 3], libc::SI_QUEUE, value);
        raw::queue(raw::getpid(), &info)?;
    }
    stage.pause()?;
    for (index, &signal) in signals.iter().enumerate() {
        for value in (index..50).step_by(3) {
            let info = raw::take(&signals, MS).with_context(|| format!("value {value} is gone"))?;
            ensure!(
                (info.signal, info.value) == (signal, value),
                "signal {} with {} instead of {signal} with {value}", info.signal, info.value
            );
        }
    }
    ensure!(raw::pending()? == 0, "still pending: {:#x}", raw::pending()?);
    Ok(())
}
