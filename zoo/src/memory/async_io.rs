//! The ring of an asynchronous I/O context (io_setup(2)).

use crate::prelude::*;

pub const GOAL: &str = "an asynchronous I/O context survives or is refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("aio");

pub fn run(stage: &Stage) -> Verdict {
    let mut context = 0_usize;
    raw::syscall(libc::SYS_io_setup, &[16, raw::into(&mut context)])?;
    stage.pause()?;
    let mut events = [0_u64; 4];
    let time = raw::timespec(MS);
    let arguments = [context, 0, 1, raw::into(&mut events), raw::at(&time)];
    let count = raw::syscall(libc::SYS_io_getevents, &arguments).context("io_getevents")?;
    ensure!(count == 0, "{count} events out of nowhere");
    raw::syscall(libc::SYS_io_destroy, &[context]).context("io_destroy")?;
    Ok(())
}
