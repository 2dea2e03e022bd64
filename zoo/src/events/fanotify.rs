//! A file-access notification group with a mark.

use crate::prelude::*;

pub const GOAL: &str = "fanotify groups survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("fanotify");

pub fn run(stage: &Stage) -> Verdict {
    const FAN_NONBLOCK: usize = 2;
    const FAN_MARK_ADD: usize = 1;
    const FAN_OPEN: usize = 0x20;
    let group = raw::syscall(libc::SYS_fanotify_init, &[FAN_NONBLOCK, libc::O_RDONLY as usize])?;
    let path = stage.path("marked\0");
    std::fs::write(stage.path("marked"), "x")?;
    let cwd = libc::AT_FDCWD as usize;
    let name = raw::at(path.as_os_str().as_encoded_bytes());
    raw::syscall(libc::SYS_fanotify_mark, &[group, FAN_MARK_ADD, FAN_OPEN, cwd, name])?;
    stage.pause()?;
    std::fs::File::open(stage.path("marked"))?;
    let mut event = [0_u8; 256];
    let len = raw::syscall(libc::SYS_read, &[group, raw::into(&mut event), event.len()])?;
    ensure!(len >= 24, "an event of {len} bytes");
    Ok(())
}
