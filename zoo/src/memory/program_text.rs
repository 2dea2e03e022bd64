//! Changed program text: a page of our own executable made writable and changed keeps the change.

use crate::prelude::*;

pub const GOAL: &str = "private changes of the executable's own pages survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let exe = std::env::current_exe()?;
    let file = std::fs::File::open(exe)?;
    let flags = libc::MAP_PRIVATE;
    use std::os::fd::AsRawFd;
    let text = raw::Mapping::new(0, 16 * raw::PAGE, libc::PROT_READ | libc::PROT_EXEC, flags,
        file.as_raw_fd(), 0)?;
    drop(file);
    let contents = text.read(0, text.len);
    text.protect(raw::PAGE, raw::PAGE, raw::READ_WRITE)?;
    text.fill(raw::PAGE, raw::PAGE, 1);
    text.protect(raw::PAGE, raw::PAGE, libc::PROT_READ | libc::PROT_EXEC)?;
    stage.pause()?;
    text.check(raw::PAGE, raw::PAGE, 1)?;
    ensure!(text.read(0, raw::PAGE) == contents[..raw::PAGE], "unchanged pages changed");
    Ok(())
}
