//! Two message queues: one with messages of several types, empty ones among them, one that is empty
//! and for which somebody waits.

use crate::prelude::*;

pub const GOAL: &str = "System V message queues keep their messages, in order and with their types";
pub const KIND: Kind = Kind::Survives;

const MESSAGES: [(i64, &str); 5] = [(3, "three"), (1, ""), (3, "third"), (i64::MAX, "x"), (2, "two")];

fn new(key: usize) -> anyhow::Result<usize> {
    let flags = (libc::IPC_CREAT | libc::IPC_EXCL | 0o640) as usize;
    Ok(raw::syscall(libc::SYS_msgget, &[key, flags])?)
}

fn send(queue: usize, kind: i64, text: &str) -> Verdict {
    let message = [&kind.to_ne_bytes()[..], text.as_bytes()].concat();
    raw::syscall(libc::SYS_msgsnd, &[queue, raw::at(&*message), text.len(), 0])?;
    Ok(())
}

fn receive(queue: usize, kind: usize) -> anyhow::Result<(i64, String)> {
    let mut message = [0_u8; 108];
    let len = raw::syscall(libc::SYS_msgrcv, &[queue, raw::into(&mut message), 100, kind, 0])?;
    let (kind, text) = message.split_first_chunk().context("no type")?;
    Ok((i64::from_ne_bytes(*kind), String::from_utf8_lossy(&text[..len]).into_owned()))
}

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let (queue, other) = (new(0x21)?, new(0)?);
    MESSAGES.iter().try_for_each(|(kind, text)| send(queue, *kind, text))?;
    let mut status = [0_u64; 15];
    raw::syscall(libc::SYS_msgctl, &[queue, libc::IPC_STAT as usize, raw::into(&mut status)])?;
    // `msg_qbytes` is word 11; it may lie below what the queue holds.
    status[11] = 5;
    raw::syscall(libc::SYS_msgctl, &[queue, libc::IPC_SET as usize, raw::at(&status)])?;
    let child = raw::fork(stage, |stage| {
        stage.mark("child")?;
        let got = receive(other, 0)?;
        ensure!(got == (5, "at last".into()), "{got:?}");
        Ok(())
    })?;
    stage.wait_for("child")?;
    let before = super::object("msg", queue)?;
    stage.pause()?;
    super::same("msg", queue, &before)?;
    raw::syscall(libc::SYS_msgctl, &[queue, libc::IPC_STAT as usize, raw::into(&mut status)])?;
    ensure!(status[11] == 5, "the limit is {}", status[11]);
    let third = receive(queue, 1)?;
    ensure!(third == (1, String::new()), "{third:?}");
    for (kind, text) in MESSAGES.iter().filter(|(kind, _)| *kind != 1) {
        let got = receive(queue, 0)?;
        ensure!(got == (*kind, (*text).to_owned()), "{got:?} instead of {text}");
    }
    send(other, 5, "at last")?;
    child.join(stage)
}
