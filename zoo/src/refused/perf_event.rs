//! A performance counter.

use crate::prelude::*;

pub const GOAL: &str = "performance counters are refused by name";
pub const KIND: Kind = Kind::Refused("perf");

pub fn run(stage: &Stage) -> Verdict {
    // PERF_TYPE_SOFTWARE, size, PERF_COUNT_SW_TASK_CLOCK (perf_event_open(2)).
    let mut attributes = [0_u64; 16];
    attributes[0] = 1 | (128 << 32);
    attributes[1] = 1;
    let arguments = [raw::at(&attributes), 0, usize::MAX, usize::MAX, 0];
    let fd = raw::syscall(libc::SYS_perf_event_open, &arguments)?;
    stage.pause()?;
    let mut count = 0_u64;
    raw::syscall(libc::SYS_read, &[fd, raw::into(&mut count), 8])?;
    ensure!(count > 0, "the counter stands still");
    Ok(())
}
