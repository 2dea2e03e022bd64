//! Workloads for `cargo xtask bench`: trees of a certain size that sleep.
//!
//! `zoo work NAME` sets one up, makes the file `$ZOO_DIR/ready`, and sleeps until it is killed.
//! `zoo work baseline-write FILE` and the like print how many nanoseconds plain work took.

use std::{
    fs::File,
    io::Write,
    os::fd::AsRawFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{program::Verdict, raw, stage::Stage};

const MIB: usize = 1 << 20;

pub fn main() -> ExitCode {
    let name = std::env::args().nth(2).unwrap_or_default();
    let measured = match (name.strip_prefix("baseline-"), std::env::args().nth(3)) {
        (Some(what), Some(file)) => baseline(what, &file),
        _ => Stage::from_environment().and_then(|stage| work(&stage, &name)),
    };
    match measured {
        Ok(time) => {
            println!("{}", time.as_nanos());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

const GIB: usize = 1 << 30;

fn baseline(what: &str, file: &str) -> anyhow::Result<Duration> {
    match what {
        "write" => write_from_buffer(file),
        "read" => read_into_fresh_memory(file, libc::MADV_NOHUGEPAGE),
        "read-huge" => read_into_fresh_memory(file, libc::MADV_HUGEPAGE),
        other => anyhow::bail!("no baseline {other}"),
    }
}

/// Writes 1 GiB from one buffer, and syncs, as a checkpoint must.
fn write_from_buffer(file: &str) -> anyhow::Result<Duration> {
    let mut buffer = vec![0_u8; GIB];
    let mut state = SEED;
    fill(&mut buffer, &mut state);
    let begin = Instant::now();
    let mut file = File::create(file)?;
    file.write_all(&buffer)?;
    file.sync_all()?;
    Ok(begin.elapsed())
}

/// Reads 1 GiB from a file into memory that was never touched.
fn read_into_fresh_memory(file: &str, advice: i32) -> anyhow::Result<Duration> {
    let file = File::open(file)?;
    let (memory, start) = huge_aligned(GIB, advice)?;
    let begin = Instant::now();
    let mut done = 0;
    while done < GIB {
        let to = memory.addr + start + done;
        let arguments = [file.as_raw_fd() as usize, to, GIB - done];
        match raw::syscall(libc::SYS_read, &arguments)? {
            0 => anyhow::bail!("the file is too short"),
            count => done += count,
        }
    }
    Ok(begin.elapsed())
}

fn work(stage: &Stage, name: &str) -> anyhow::Result<Duration> {
    crate::stage::stand_alone();
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

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers that do not repeat, so that no page is like another.
fn fill(block: &mut [u8], state: &mut u64) {
    for word in block.chunks_exact_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_ne_bytes());
    }
}

/// Fresh memory, and where in it a part of that length begins that huge pages can hold.
fn huge_aligned(len: usize, advice: i32) -> anyhow::Result<(raw::Mapping, usize)> {
    const HUGE: usize = 2 * MIB;
    let memory = raw::Mapping::private(len + HUGE)?;
    let start = memory.addr.next_multiple_of(HUGE) - memory.addr;
    memory.advise(start, len, advice)?;
    Ok((memory, start))
}

fn memory(len: usize, advice: i32) -> Verdict {
    let (memory, start) = huge_aligned(len, advice)?;
    let (mut block, mut state) = (vec![0_u8; MIB], SEED);
    for offset in (0..len).step_by(MIB) {
        fill(&mut block, &mut state);
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
