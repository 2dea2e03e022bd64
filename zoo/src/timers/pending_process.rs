//! Blocked signals pending for the process, sent in several ways, with sender and data.

use crate::prelude::*;

pub const GOAL: &str = "signals pending for the process keep their data";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (standard, queued, real_time) = (libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN() + 3);
    raw::block(&[standard, queued, real_time, libc::SIGCHLD])?;
    let pid = raw::getpid();
    raw::kill(pid, standard)?;
    raw::queue(pid, &raw::QueuedInfo::new(queued, libc::SI_QUEUE, 0x1234_5678_9abc))?;
    raw::queue(pid, &raw::QueuedInfo::new(real_time, libc::SI_MESGQ, 77))?;
    let child = raw::fork(stage, |_| raw::exit_now(5))?;
    stage.wait_until("SIGCHLD", || Ok(raw::pending()? & raw::bit(libc::SIGCHLD) != 0))?;
    let before = raw::pending()?;
    stage.pause()?;
    ensure!(raw::pending()? == before, "pending {:#x} instead of {before:#x}", raw::pending()?);
    expect(standard, libc::SI_USER, pid, None)?;
    expect(queued, libc::SI_QUEUE, pid, Some(0x1234_5678_9abc))?;
    expect(real_time, libc::SI_MESGQ, pid, Some(77))?;
    // In SIGCHLD the status lies where a queued signal has its data.
    expect(libc::SIGCHLD, libc::CLD_EXITED, child.pid, None)?;
    ensure!(child.wait()? == raw::Status::Exited(5), "the child's exit code changed");
    Ok(())
}

fn expect(signal: i32, code: i32, pid: i32, value: Option<usize>) -> Verdict {
    let info = raw::take(&[signal], MS).with_context(|| format!("signal {signal} is gone"))?;
    let seen = (info.signal, info.code, info.pid);
    ensure!(seen == (signal, code, pid), "{seen:?} instead of {:?}", (signal, code, pid));
    let value = value.unwrap_or(info.value);
    ensure!(info.value == value, "signal {signal} has {:#x} instead of {value:#x}", info.value);
    Ok(())
}
