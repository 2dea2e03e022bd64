//! An epoll set that watches a file by a descriptor number that was closed and whose duplicate
//! lives on, and the same number once more for another file.

use std::{io::Write, os::fd::{AsFd, AsRawFd}};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::prelude::*;

pub const GOAL: &str = "epoll sets with duplicated and re-used numbers survive";
pub const KIND: Kind = Kind::KeptOrRefused("epoll");

pub fn run(stage: &Stage) -> Verdict {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (first, mut first_writer) = std::io::pipe()?;
    let (second, mut second_writer) = std::io::pipe()?;
    epoll::add(&set, &first, EventData::new_u64(1), EventFlags::IN)?;
    let number = first.as_raw_fd();
    let _duplicate = first.as_fd().try_clone_to_owned()?;
    // Now the number means another pipe, and the duplicate keeps the first one watched.
    raw::syscall(libc::SYS_dup2, &[second.as_raw_fd() as usize, number as usize])?;
    epoll::add(&set, &first, EventData::new_u64(2), EventFlags::IN)?;
    super::keep_set(stage, &[&set])?;
    second_writer.write_all(b"x")?;
    let events = super::wait(&set)?;
    ensure!(events == [(2, 1)], "{events:x?}");
    first_writer.write_all(b"x")?;
    let events = super::wait(&set)?;
    ensure!(events == [(1, 1), (2, 1)], "{events:x?}");
    Ok(())
}
