//! read(2) on an eventfd with count 0 ends when another thread adds.

use std::os::fd::AsFd;

use crate::prelude::*;

pub const GOAL: &str = "read(2) on an empty eventfd waits for a count";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    let writer = counter.try_clone()?;
    let add = move || {
        rustix::io::write(&writer, &9_u64.to_ne_bytes())?;
        Ok(())
    };
    super::woken(stage, add, || {
        let mut bytes = [0; 8];
        rustix::io::read(counter.as_fd(), &mut bytes).context("read")?;
        ensure!(u64::from_ne_bytes(bytes) == 9, "count {}", u64::from_ne_bytes(bytes));
        Ok(())
    })
}
