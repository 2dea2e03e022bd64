//! Registration for restartable sequences: the kernel keeps the CPU number in each thread's area up
//! to date, and a second registration of the same area is refused as busy.

use crate::prelude::*;

pub const GOAL: &str = "registration for restartable sequences survives in every thread";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    super::in_threads(stage, |_| Ok(()), || {
        let (area, size) = raw::rseq_area().context("the C library registered no area")?;
        let cpu = raw::peek(area + 4);
        ensure!((cpu as usize) < 4096, "CPU number {cpu:#x} in the area");
        let again = [area, size.max(32) as usize, 0, 0x5305_3053];
        let result = raw::syscall(libc::SYS_rseq, &again).map_err(|e| e.raw_os_error());
        Ok(vec![format!("{area:x} {result:?}")])
    })?;
    let (area, _) = raw::rseq_area().context("no area")?;
    // Moving to each CPU must be seen in the area.
    for cpu in 0..std::thread::available_parallelism()?.get() {
        raw::syscall(libc::SYS_sched_setaffinity, &[0, 8, raw::at(&(1_u64 << cpu))])?;
        let seen = raw::peek(area + 4);
        ensure!(seen as usize == cpu, "the area says CPU {seen}, the thread is on {cpu}");
    }
    Ok(())
}
