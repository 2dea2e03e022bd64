//! Where contents go to and come from; the engine fills these in.

use std::{fs::File, io, ops::Range, os::fd::BorrowedFd};

use rustix::io::Errno;
use stasis_model::{PAGE_SIZE, PageRun};

/// Takes the contents of pages, in address order.
pub trait PageSink {
    /// The file at whose end the content of the next run is to be written.
    fn file(&self) -> BorrowedFd<'_>;
    /// Asked before each piece: who has no use for the rest says so by an error.
    fn may_go_on(&self) -> io::Result<()>;
    /// Tells which pages were written.
    fn record(&mut self, run: PageRun) -> io::Result<()>;
    /// Pages that the checkpoint before has, in address order.
    fn known(&self) -> &[PageRun];
    /// Tells which of these are as they were.
    fn record_known(&mut self, run: PageRun) -> io::Result<()>;
}

/// A run of pages in a file.
#[derive(Clone, Copy, Debug)]
pub struct StoredRun {
    pub run: PageRun,
    /// Index into [`PageSource::files`].
    pub file: usize,
    /// Bytes.
    pub offset: u64,
}

impl StoredRun {
    /// Addresses of its pages.
    pub fn range(&self) -> Range<u64> {
        self.run.start..self.run.end()
    }

    /// The pages at `range`, which lies within.
    pub fn part(&self, range: &Range<u64>) -> StoredRun {
        let nr_pages = (range.end - range.start) / PAGE_SIZE;
        let offset = self.offset + (range.start - self.run.start);
        StoredRun { run: PageRun { start: range.start, nr_pages }, offset, ..*self }
    }
}

/// Gives the contents of pages.
pub trait PageSource {
    fn files(&self) -> Vec<BorrowedFd<'_>>;
    /// In address order.
    fn runs(&self) -> &[StoredRun];
}

/// Takes the content of a file that has no name any more.
pub trait GhostSink {
    /// Copies `len` bytes at `offset` from the file.
    fn copy(&mut self, from: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()>;
}

/// A piece of a ghost's content in a file.
#[derive(Clone, Copy, Debug)]
pub struct StoredChunk {
    /// Offset in the ghost.
    pub offset: u64,
    pub len: u64,
    /// Offset in the file it is stored in.
    pub stored_at: u64,
}

/// The queues of a TCP connection in a file: what was received, and behind it what is to be sent.
#[derive(Debug)]
pub struct StoredQueues {
    pub file: File,
    /// Offset of the first byte.
    pub start: u64,
    pub received_bytes: u32,
    pub outgoing_bytes: u32,
}

/// Writes all bytes where the file stands, or at its end.
///
/// # Errors
/// By the file; [`io::ErrorKind::WriteZero`] if it takes nothing more.
pub fn write_all(file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    in_pieces(bytes, |rest, _| rustix::io::write(file, rest))
}

/// Writes all bytes at `offset`.
///
/// # Errors
/// As [`write_all`].
pub fn write_all_at(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    in_pieces(bytes, |rest, done| rustix::io::pwrite(file, rest, offset + done))
}

/// Fills the buffer with what is at `offset`.
///
/// # Errors
/// By the file; [`io::ErrorKind::UnexpectedEof`] if it has less.
pub fn read_exact_at(
    file: BorrowedFd<'_>,
    mut buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => {
                buffer = &mut buffer[got..];
                offset += got as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn in_pieces(
    bytes: &[u8],
    write: impl Fn(&[u8], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(&bytes[done..], done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
