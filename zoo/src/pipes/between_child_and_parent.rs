//! A pipe whose ends are in two processes, with data in it; the parent's end closes after go.

use std::io::{Read, Write};

use crate::prelude::*;

pub const GOAL: &str = "a pipe between parent and child stays one pipe";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(b"before ")?;
    let parents_end = std::os::fd::AsRawFd::as_raw_fd(&writer) as usize;
    let child = raw::fork(stage, move |stage| {
        // The child must not hold the end that its parent will close.
        raw::syscall(libc::SYS_close, &[parents_end])?;
        stage.mark("child")?;
        stage.wait_for_go()?;
        let mut text = String::new();
        (&reader).read_to_string(&mut text)?;
        ensure!(text == "before after", "{text}");
        raw::exit_now(0)
    })?;
    stage.wait_for("child")?;
    stage.pause()?;
    writer.write_all(b"after")?;
    drop(writer);
    child.join(stage)
}
