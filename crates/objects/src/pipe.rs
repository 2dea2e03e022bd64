//! pipe(2), with the bytes that are in it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    pipe::{PipeFlags, SpliceFlags},
};
use stasis_model::{FileKind, OpenFile, PipeContent, PipeEnd, PipeId};
use stasis_sys::fcntl;

use crate::{
    content::write_all,
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    thawing::Thawing,
};

const O_ACCMODE: u32 = 3;
const O_DIRECT: u32 = 0o40_000;
const O_LARGEFILE: u32 = 0o100_000;

/// Freezes one end; the content is read once, through an end that can be read.
pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<FileKind> {
    let pipe = PipeId(u32::try_from(open.stat.st_ino).unwrap_or(u32::MAX));
    let external = gathering.external_files.contains(&open.link.display().to_string());
    if external {
        gathering.tree.pipes.entry(pipe).or_default();
        return Ok(FileKind::Pipe(PipeEnd { pipe }));
    }
    let known = gathering.tree.pipes.get(&pipe).is_some_and(|content| content.capacity.is_some());
    if !known {
        let content = read_content(open)?;
        gathering.tree.pipes.insert(pipe, content);
    }
    let content = gathering.tree.pipes.entry(pipe).or_default();
    if open.flags() & O_DIRECT != 0 && content.packets.is_empty() && !content.data.is_empty() {
        // One packet alone looks like a stream.
        content.packets = vec![u32::try_from(content.data.len()).unwrap_or(u32::MAX)];
    }
    Ok(FileKind::Pipe(PipeEnd { pipe }))
}

/// The bytes in a pipe, without taking them.
pub fn read_content(open: &OpenFd) -> Result<PipeContent> {
    let what = open.what();
    let end = file_of(open)?;
    let capacity =
        rustix::pipe::fcntl_getpipe_size(end).map_err(Error::at(&what, "F_GETPIPE_SZ"))?;
    let waiting =
        stasis_sys::ioctl::readable_bytes(end).map_err(Error::at(&what, "ioctl(FIONREAD)"))?;
    let (data, packets) =
        if waiting == 0 { (Vec::new(), Vec::new()) } else { peek(open, waiting, capacity)? };
    let capacity = Some(u32::try_from(capacity).unwrap_or(u32::MAX));
    Ok(PipeContent { data, capacity, packets })
}

/// Copies the content into a pipe of our own by tee(2), which takes nothing out; also tells the lengths
/// of packets, if there are several.
fn peek(open: &OpenFd, waiting: usize, capacity: usize) -> Result<(Vec<u8>, Vec<u32>)> {
    let what = open.what();
    // The end at hand may be the one for writing; another one is opened for reading.
    let path = format!("/proc/{}/fd/{}", open.pid, open.fd);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(path, flags, Mode::empty())
        .map_err(Error::at(&what, "open for reading"))?;
    let (out, into) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::at(&what, "pipe2"))?;
    rustix::pipe::fcntl_setpipe_size(&into, capacity).map_err(Error::at(&what, "F_SETPIPE_SZ"))?;
    let copied = rustix::pipe::tee(&reader, &into, waiting, SpliceFlags::NONBLOCK)
        .map_err(Error::at(&what, "tee"))?;
    let mut data = vec![0; copied];
    let mut filled = 0;
    let mut packets = Vec::new();
    while filled < copied {
        // The copies are packets as well: read(2) gives one at a time, of a stream all at once.
        let len = rustix::io::read(&out, &mut data[filled..]).map_err(Error::at(&what, "read"))?;
        filled += len;
        packets.push(u32::try_from(len).unwrap_or(u32::MAX));
    }
    if packets.len() < 2 {
        packets.clear();
    }
    if copied == waiting {
        return Ok((data, packets));
    }
    let reason = format!("only {copied} of {waiting} bytes could be read from it");
    Err(Error::Changed { object: what, reason })
}

/// Opens one end, making and filling the pipe when its first end is thawed.
pub fn thaw(end: &PipeEnd, file: &OpenFile, thawing: &mut Thawing) -> Result<OwnedFd> {
    let what = format!("pipe:[{}]", end.pipe);
    let end_id = end.pipe;
    let ends = match thawing.take_pipe(end.pipe) {
        Some(ends) => ends,
        None => make(end.pipe, thawing)?,
    };
    let base: BorrowedFd<'_> =
        if file.flags & O_ACCMODE == 0 { ends.0.as_fd() } else { ends.1.as_fd() };
    if file.flags & O_LARGEFILE == 0 {
        // What pipe2(2) itself made: opening a file always sets that flag.
        let end = Thawing::duplicate(base, &what)?;
        stasis_sys::fcntl::set_status_flags(end.as_fd(), file.flags & !O_ACCMODE)
            .map_err(Error::at(&what, "F_SETFL"))?;
        thawing.keep_pipe(end_id, ends);
        return Ok(end);
    }
    // Any other open file description was opened through /proc, and is again.
    let flags = OFlags::from_bits_retain(file.flags & (O_ACCMODE | 0o4000)) | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", base.as_raw_fd());
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at(&what, "open"))?;
    stasis_sys::fcntl::set_status_flags(opened.as_fd(), file.flags & !O_ACCMODE)
        .map_err(Error::at(&what, "F_SETFL"))?;
    thawing.keep_pipe(end.pipe, ends);
    Ok(opened)
}

fn make(id: PipeId, thawing: &Thawing) -> Result<(OwnedFd, OwnedFd)> {
    let what = format!("pipe:[{id}]");
    let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::at(&what, "pipe2"))?;
    if let Some(content) = thawing.tree().pipes.get(&id) {
        fill(&what, ends.1.as_fd(), content)?;
    }
    Ok(ends)
}

/// Sets the capacity and puts the bytes in.
pub fn fill(what: &str, end: BorrowedFd<'_>, content: &PipeContent) -> Result<()> {
    if let Some(capacity) = content.capacity {
        rustix::pipe::fcntl_setpipe_size(end, capacity as usize)
            .map_err(Error::at(what, "F_SETPIPE_SZ"))?;
    }
    let capacity =
        rustix::pipe::fcntl_getpipe_size(end).map_err(Error::at(what, "F_GETPIPE_SZ"))?;
    if content.data.len() > capacity {
        let reason = format!("{} bytes do not fit into it", content.data.len());
        return Err(Error::Unsupported { object: what.into(), reason });
    }
    if content.packets.is_empty() {
        return write_all(end, &content.data).map_err(Error::at(what, "write"));
    }
    let flags = fcntl::status_flags(end).map_err(Error::at(what, "F_GETFL"))?;
    fcntl::set_status_flags(end, flags | O_DIRECT).map_err(Error::at(what, "F_SETFL"))?;
    let mut rest = content.data.as_slice();
    for len in &content.packets {
        let Some((packet, tail)) = rest.split_at_checked(*len as usize) else { break };
        rustix::io::write(end, packet).map_err(Error::at(what, "write"))?;
        rest = tail;
    }
    fcntl::set_status_flags(end, flags).map_err(Error::at(what, "F_SETFL"))?;
    write_all(end, rest).map_err(Error::at(what, "write"))
}
