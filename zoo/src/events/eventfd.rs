//! Event counters: small, above 32 bits, and the largest possible; their flags.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use crate::prelude::*;

pub const GOAL: &str = "event counters survive, above 32 bits too";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let counts = [0, 1, 77, 5 << 40, u64::MAX - 1];
    let make = |count: u64| -> anyhow::Result<OwnedFd> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK)?;
        rustix::io::write(&fd, &count.to_ne_bytes())?;
        Ok(fd)
    };
    let counters: Vec<_> = counts.into_iter().map(make).collect::<Result<_, _>>()?;
    crate::files::keep(stage, || crate::files::flags(&counters.iter().collect::<Vec<_>>()))?;
    for (counter, count) in counters.iter().zip(counts) {
        let seen = super::read_count(counter)?;
        ensure!(seen == (count > 0).then_some(count), "{seen:?} instead of {count}");
        ensure!(super::read_count(counter)?.is_none(), "{count} came twice");
    }
    Ok(())
}
