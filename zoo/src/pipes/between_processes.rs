//! A ring of four processes that hand a number around through pipes, all the time.

use std::io::{PipeReader, PipeWriter, Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "data going round a ring of processes through pipes is not lost";
pub const KIND: Kind = Kind::Survives;

const CHILDREN: u64 = 3;

pub fn run(stage: &Stage) -> Verdict {
    let (mut end, mut start) = std::io::pipe()?;
    let mut children = Vec::new();
    for _ in 0..CHILDREN {
        let (reader, writer) = std::io::pipe()?;
        let from = std::mem::replace(&mut end, reader);
        children.push(raw::fork(stage, move |_| hand_on(from, writer))?);
    }
    let stage_of_thread = stage.clone();
    let round = std::thread::spawn(move || -> anyhow::Result<_> {
        let mut number = 0_u64;
        while !stage_of_thread.path("go").exists() {
            start.write_all(&u64::to_ne_bytes(number))?;
            let back = receive(&mut end)?;
            ensure!(back == number + CHILDREN, "{back} came back after {number}");
            number = back;
        }
        // Both ends go on living: the ring must not end by itself.
        Ok((number, start, end))
    });
    stage.pause()?;
    let (number, _start, _end) = round.join().expect("nobody panics")?;
    ensure!(number > 0, "nothing went round");
    // From the end on: who loses its writer sees the end of its pipe and goes by itself.
    for child in children.into_iter().rev() {
        child.kill(libc::SIGTERM)?;
        let status = child.wait()?;
        ensure!(status == raw::Status::Killed(libc::SIGTERM), "{status:?} before it was told to");
    }
    Ok(())
}

fn receive(from: &mut PipeReader) -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn hand_on(mut from: PipeReader, mut to: PipeWriter) -> Verdict {
    loop {
        let number = receive(&mut from)?;
        to.write_all(&(number + 1).to_ne_bytes())?;
    }
}
