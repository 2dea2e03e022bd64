//! Workloads for `cargo xtask bench`: trees of a certain size that sleep.
//!
//! `zoo work NAME` sets one up, makes the file `$ZOO_DIR/ready`, and sleeps until it is killed.

use std::{process::ExitCode, time::Duration};

use crate::{program::Verdict, raw, stage::Stage};

const MIB: usize = 1 << 20;

pub fn main() -> ExitCode {
    let name = std::env::args().nth(2).unwrap_or_default();
    let _ = rustix::process::setsid();
    let Err(error) = Stage::from_environment().and_then(|stage| work(&stage, &name));
    eprintln!("error: {error:#}");
    ExitCode::from(2)
}

fn work(stage: &Stage, name: &str) -> anyhow::Result<std::convert::Infallible> {
    match name {
        "memory-1m" => memory(MIB, libc::MADV_NOHUGEPAGE)?,
        "memory-1g" => memory(1024 * MIB, libc::MADV_NOHUGEPAGE)?,
        "memory-1g-huge" => memory(1024 * MIB, libc::MADV_HUGEPAGE)?,
        "tasks-101" => tasks(stage, 100)?,
        "threads-501" => threads(500),
        other => anyhow::bail!("no workload {other}"),
    }
    stage.ready()?;
    sleep()
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// Memory full of numbers that do not repeat, so that no page is like another.
fn memory(len: usize, advice: i32) -> Verdict {
    const HUGE: usize = 2 * MIB;
    let memory = raw::Mapping::private(len + HUGE)?;
    let start = memory.addr.next_multiple_of(HUGE) - memory.addr;
    memory.advise(start, len, advice)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0_u8; MIB];
    for offset in (0..len).step_by(MIB) {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_ne_bytes());
        }
        memory.write(start + offset, &block);
    }
    Ok(())
}

fn tasks(stage: &Stage, count: usize) -> Verdict {
    (0..count).try_for_each(|_| raw::fork(stage, |_| sleep()).map(drop))
}

fn threads(count: usize) {
    (0..count).for_each(|_| drop(std::thread::spawn(|| sleep())));
}
