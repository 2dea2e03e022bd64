//! A child of two threads in the strict mode, which may only read, write and end.

use std::{
    io::{Read, Write},
    os::fd::AsRawFd,
};

use crate::prelude::*;

pub const GOAL: &str = "all threads stay in seccomp's strict mode";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (questions, mut ask) = std::io::pipe()?;
    let (mut answers, answer) = std::io::pipe()?;
    let (from, to) = (questions.as_raw_fd() as usize, answer.as_raw_fd() as usize);
    let child = raw::fork(stage, |_| {
        std::thread::spawn(move || answer_strictly(from, to));
        answer_strictly(from, to)
    })?;
    let are_strict = || -> anyhow::Result<bool> {
        let modes = modes_of(child.pid)?;
        Ok(modes == ["Seccomp:\t1", "Seccomp:\t1"])
    };
    stage.wait_until("strict threads", are_strict)?;
    stage.pause()?;
    ensure!(are_strict()?, "{:?}", modes_of(child.pid)?);
    ask.write_all(b"12")?;
    let mut answered = [0; 2];
    answers.read_exact(&mut answered)?;
    answered.sort_unstable();
    ensure!(answered == *b"12", "{answered:?}");
    child.join(stage)
}

/// Gives back one byte, and ends.
fn answer_strictly(from: usize, to: usize) -> ! {
    const SECCOMP_MODE_STRICT: usize = 1;
    let mut byte = 0_u8;
    let place = raw::into(&mut byte);
    let _ = raw::prctl(libc::PR_SET_SECCOMP, &[SECCOMP_MODE_STRICT, 0, 0, 0]);
    let _ = raw::syscall(libc::SYS_read, &[from, place, 1]);
    let _ = raw::syscall(libc::SYS_write, &[to, place, 1]);
    loop {
        // The thread alone: to end the whole process is forbidden.
        let _ = raw::syscall(libc::SYS_exit, &[0]);
    }
}

fn modes_of(pid: i32) -> anyhow::Result<Vec<String>> {
    let mut modes = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("status"))?;
        modes.extend(text.lines().filter(|line| line.starts_with("Seccomp:")).map(str::to_owned));
    }
    Ok(modes)
}
