//! Open files of memfd_create(2): a position and flags on top of a [`crate::segment`].

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, SeekFrom};
use stasis_model::{FileKind, Memfd, OpenFile};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    segment,
    thawing::Thawing,
};

/// The memfd's name in a `/proc` link such as `/memfd:name (deleted)`.
pub fn name_in_link(link: &[u8]) -> Option<&[u8]> {
    let rest = link.strip_prefix(b"/memfd:")?;
    Some(rest.strip_suffix(b" (deleted)").unwrap_or(rest))
}

pub fn freeze(open: &OpenFd, name: &[u8], gathering: &mut Gathering) -> Result<FileKind> {
    let what = open.what();
    let copy = Thawing::duplicate(file_of(open)?, &what)?;
    // The content is read through a description of its own, so that no position moves.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::at(what, "open"))?;
    let segment = segment::freeze(reader, Some(name), gathering)?;
    Ok(FileKind::Memfd(Memfd { segment, position: open.common.position }))
}

pub fn thaw(memfd: &Memfd, file: &OpenFile, thawing: &mut Thawing) -> Result<OwnedFd> {
    let what = format!("memfd {}", memfd.segment);
    let segment = thawing.segment(memfd.segment)?;
    let path = format!("/proc/self/fd/{}", segment.as_raw_fd());
    let flags = OFlags::from_bits_retain(file.flags & 0o2_006_003) | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at(&what, "open"))?;
    rustix::fs::seek(opened.as_fd(), SeekFrom::Start(memfd.position))
        .map_err(Error::at(&what, "lseek"))?;
    Ok(opened)
}
