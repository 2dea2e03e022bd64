//! A parent that waits in vfork(2) because its child has not executed anything: the checkpoint must
//! wait until it has, or refuse.

use crate::prelude::*;

pub const GOAL: &str = "a vfork(2) under way is waited for or refused";
pub const KIND: Kind = Kind::KeptOrRefused("vfork");

pub fn run(stage: &Stage) -> Verdict {
    stage.mark("changes-by-itself")?;
    stage.ready()?;
    let start = raw::clock(libc::CLOCK_MONOTONIC)?;
    let time = 700 * MS;
    let child = raw::vfork_and_sleep(time)?;
    let elapsed = raw::clock(libc::CLOCK_MONOTONIC)? - start;
    ensure!(elapsed + 20 * MS >= time, "the parent did not wait: {elapsed:?}");
    let (_, status) = raw::wait_for(child, 0)?;
    ensure!(status == raw::Status::Exited(0), "{status:?}");
    stage.wait_for_go().map(drop)
}
