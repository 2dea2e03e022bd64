//! Named pipes: a path like any file, a content like any pipe.

use std::{
    collections::btree_map::Entry,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags};
use stasis_model::{Fifo, FileId, FileKind, OpenFile, PipeId};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
    path_file, pipe,
    thawing::Thawing,
};

const O_ACCMODE: u32 = 3;

pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<FileKind> {
    let pipe = PipeId(u32::try_from(open.stat.st_ino).unwrap_or(u32::MAX));
    if let Entry::Vacant(vacant) = gathering.tree.pipes.entry(pipe) {
        vacant.insert(pipe::read_content(open)?);
    }
    let (path, deleted) = path_file::name_of(&open.link, &open.stat, gathering)?;
    let mut path = path_file::describe(path, &open.stat, open.flags());
    if deleted {
        let file = path_file::reopen(open)?;
        path.remap = Some(path_file::remap(&file, &open.stat, &path.path, gathering)?);
    }
    path.position = Some(open.common.position);
    let path_id: FileId = gathering.new_file_id();
    Ok(FileKind::Fifo(Fifo { pipe, path, path_id }))
}

/// Opens one end; opening for both directions first keeps open(2) from waiting for the other one.
pub fn thaw(fifo: &Fifo, file: &OpenFile, thawing: &mut Thawing) -> Result<OwnedFd> {
    let what = fifo.path.path.display().to_string();
    let (reader, writer) = match thawing.take_pipe(fifo.pipe) {
        Some(ends) => ends,
        None => {
            let both = path_file::open(&fifo.path, 2, thawing)?;
            if let Some(content) = thawing.tree().pipes.get(&fifo.pipe) {
                pipe::fill(&what, both.as_fd(), content)?;
            }
            let copy = Thawing::duplicate(both.as_fd(), &what)?;
            (both, copy)
        }
    };
    let flags = OFlags::from_bits_retain(file.flags & (O_ACCMODE | 0o4000)) | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at(&what, "open"))?;
    stasis_sys::fcntl::set_status_flags(opened.as_fd(), file.flags & !O_ACCMODE)
        .map_err(Error::at(&what, "F_SETFL"))?;
    thawing.keep_pipe(fifo.pipe, (reader, writer));
    Ok(opened)
}
