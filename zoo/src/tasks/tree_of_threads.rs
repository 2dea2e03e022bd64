//! Children made by a thread that is not the main one; threads in the children too.

use crate::prelude::*;

pub const GOAL: &str = "processes made by a second thread, with threads of their own, survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let stage_of_thread = stage.clone();
    let thread = std::thread::spawn(move || -> Verdict {
        let child = raw::fork(&stage_of_thread, |stage| {
            let stage = stage.clone();
            let inner = std::thread::spawn(move || -> Verdict {
                stage.mark("inner")?;
                stage.wait_for_go().map(drop)
            });
            inner.join().expect("nobody panics")
        })?;
        child.join(&stage_of_thread)
    });
    stage.wait_for("inner")?;
    stage.pause()?;
    thread.join().expect("nobody panics")
}
