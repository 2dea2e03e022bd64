//! A table with several hundred descriptors and one gap among the low numbers, which whoever restores it may want for
//! itself.

use std::{
    fs,
    io::{Seek, SeekFrom},
    mem::forget,
    os::fd::AsRawFd,
};

use crate::prelude::*;

pub const GOAL: &str = "each of several hundred descriptors side by side leads to its own file";
pub const KIND: Kind = Kind::Survives;

const LAST: usize = 600;
const GAP: usize = 63;

pub fn run(stage: &Stage) -> Verdict {
    fs::write(stage.path("file"), vec![b'x'; LAST])?;
    loop {
        let mut file = fs::File::open(stage.path("file"))?;
        let number = file.as_raw_fd() as usize;
        file.seek(SeekFrom::Start(number as u64))?;
        forget(file);
        if number == LAST {
            break;
        }
    }
    raw::syscall(libc::SYS_close, &[GAP])?;
    let position = |number| match raw::syscall(libc::SYS_lseek, &[number, 0, libc::SEEK_CUR as usize]) {
        Ok(position) => format!("{number} at {position}"),
        Err(error) => format!("{number}: {error}"),
    };
    super::keep(stage, || Ok((0..LAST + 2).map(position).collect()))
}
