//! Descriptors on their way through a socket: a file with its position, a pipe end.

use std::{fs, io::{Read, Seek, SeekFrom, Write}, os::fd::AsFd};

use crate::prelude::*;

pub const GOAL: &str = "descriptors in flight through a unix socket arrive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::SocketType;
    fs::write(stage.path("file"), "0123456789")?;
    let mut file = fs::File::open(stage.path("file"))?;
    file.seek(SeekFrom::Start(4))?;
    let (reader, mut writer) = std::io::pipe()?;
    let (a, b) = super::pair(SocketType::STREAM)?;
    super::send_fds(&a, b"first", &[file.as_fd(), reader.as_fd()])?;
    super::send_fds(&a, b"second", &[])?;
    drop((file, reader));
    stage.pause()?;
    let (bytes, mut fds) = super::receive_fds(&b, 5)?;
    ensure!(bytes == b"first" && fds.len() == 2, "{bytes:?} with {} descriptors", fds.len());
    let mut reader = fs::File::from(fds.pop().context("no pipe")?);
    let mut file = fs::File::from(fds.pop().context("no file")?);
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    ensure!(&byte == b"4", "the file is at {byte:?}");
    writer.write_all(b"x")?;
    reader.read_exact(&mut byte)?;
    ensure!(&byte == b"x", "the pipe gave {byte:?}");
    let (bytes, fds) = super::receive_fds(&b, 6)?;
    ensure!(bytes == b"second" && fds.is_empty(), "{bytes:?} with {} descriptors", fds.len());
    Ok(())
}
