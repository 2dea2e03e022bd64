//! A memory file: contents, size, position, name and a hole, opened twice with different offsets.

use std::{fs, io::{Seek, SeekFrom, Write}, os::fd::AsRawFd, os::unix::fs::FileExt};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::prelude::*;

pub const GOAL: &str = "a memory file keeps contents, size, name and positions";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let mut file = fs::File::from(memfd_create("a name", MemfdFlags::CLOEXEC)?);
    file.write_all(b"hello memory")?;
    file.set_len(1 << 20)?;
    file.write_all_at(b"far", (1 << 20) - 3)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut second = fs::File::options().read(true).open(&path)?;
    second.seek(SeekFrom::Start(6))?;
    let name = fs::read_link(&path)?;
    stage.pause()?;
    ensure!(fs::read_link(&path)? == name, "the name is {:?}", fs::read_link(&path)?);
    ensure!(file.metadata()?.len() == 1 << 20, "the size is {}", file.metadata()?.len());
    let positions = (file.stream_position()?, second.stream_position()?);
    ensure!(positions == (12, 6), "positions {positions:?}");
    let mut bytes = [0; 12];
    second.read_exact_at(&mut bytes, 0)?;
    ensure!(&bytes == b"hello memory", "contents {bytes:?}");
    file.write_all_at(b"later", 0)?;
    second.read_exact_at(&mut bytes, 0)?;
    ensure!(bytes.starts_with(b"later"), "the two descriptors are no longer the same file");
    second.read_exact_at(&mut bytes[..3], (1 << 20) - 3)?;
    ensure!(bytes.starts_with(b"far"), "the end of the file is lost");
    Ok(())
}
