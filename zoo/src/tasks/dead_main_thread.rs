//! The main thread of a child has ended, another thread lives on.

use crate::prelude::*;

pub const GOAL: &str = "a process whose main thread has ended is kept or refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("thread");

pub fn run(stage: &Stage) -> Verdict {
    let child = raw::fork(stage, |stage| {
        let stage = stage.clone();
        std::thread::spawn(move || {
            let done = stage.mark("alive").and_then(|()| stage.wait_for_go().map(drop));
            raw::exit_now(if done.is_ok() { 11 } else { 1 })
        });
        raw::syscall(libc::SYS_exit, &[0]).map(drop)?;
        Ok(())
    })?;
    stage.wait_for("alive")?;
    std::thread::sleep(20 * MS);
    stage.pause()?;
    let status = child.wait()?;
    ensure!(status == raw::Status::Exited(11), "{status:?}");
    Ok(())
}
