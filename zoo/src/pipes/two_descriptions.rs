//! Two open file descriptions of one pipe end, with different flags: opened again through proc.

use std::{fs, io::{Read, Write}, os::{fd::AsRawFd, unix::fs::OpenOptionsExt}};

use crate::prelude::*;

pub const GOAL: &str = "two open descriptions of one pipe end keep their flags and stay one pipe";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let (reader, mut writer) = std::io::pipe()?;
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let mut second = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    let mut both = fs::File::options().read(true).write(true).open(&path)?;
    writer.write_all(b"abcdef")?;
    let look = || {
        let all = [reader.as_raw_fd(), writer.as_raw_fd(), second.as_raw_fd(), both.as_raw_fd()];
        all.iter().map(crate::files::status_flags).collect()
    };
    crate::files::keep(stage, look)?;
    let mut bytes = [0; 3];
    second.read_exact(&mut bytes)?;
    ensure!(&bytes == b"abc", "{bytes:?}");
    both.read_exact(&mut bytes)?;
    ensure!(&bytes == b"def", "{bytes:?}");
    both.write_all(b"g")?;
    ensure!((&reader).read(&mut bytes)? == 1, "not the same pipe");
    Ok(())
}
