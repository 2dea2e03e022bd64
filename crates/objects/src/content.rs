//! Where contents go to and come from; the engine fills these in.

use std::{io, os::fd::BorrowedFd};

use stasis_model::PageRun;

/// Takes the contents of pages, in address order.
pub trait PageSink {
    /// The file at whose end the content of the next run is to be written.
    fn file(&self) -> BorrowedFd<'_>;
    /// Tells which pages were written.
    fn record(&mut self, run: PageRun) -> io::Result<()>;
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
