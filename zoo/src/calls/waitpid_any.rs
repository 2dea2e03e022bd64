//! wait4(2) for any child, and waitid(2) in a second thread for a certain one.

use crate::prelude::*;

pub const GOAL: &str = "waiting for any child and for a certain one goes on in two threads";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let first = raw::fork(stage, |stage| stage.wait_for_go().map(drop))?;
    let second = raw::fork(stage, |stage| {
        stage.wait_for("second")?;
        raw::exit_now(3)
    })?;
    let stage_of_thread = stage.clone();
    let thread = std::thread::spawn(move || -> Verdict {
        let everything = libc::WEXITED as usize;
        let arguments = [libc::P_PID as usize, first.pid as usize, 0, everything];
        raw::syscall(libc::SYS_waitid, &arguments).context("waitid")?;
        stage_of_thread.mark("second")
    });
    stage.ready()?;
    thread.join().expect("nobody panics")?;
    let (pid, status) = raw::wait_for(-1, 0).context("wait4")?;
    ensure!((pid, status) == (second.pid, raw::Status::Exited(3)), "{pid}: {status:?}");
    Ok(())
}
