//! From a stopped process's memory into a file.
//!
//! process_vm_readv(2) is the quickest way, but it pins pages, and the kernel gives whoever has a page
//! pinned a copy of its own: memory that is shared copy-on-write, or merged, would be so no longer. What
//! others have too is therefore read from `/proc/PID/mem`, which takes a look and leaves it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::OFlags;
use stasis_model::{PAGE_SIZE, PageRun};
use stasis_sys::memory::{self, MAX_RANGES, RemoteRange};
use stasis_tracee::ProcDir;

use crate::{
    content::{PageSink, read_exact_at, write_all},
    error::Result,
};

/// Bytes that are moved at once: few enough to stay in a processor's cache on their way.
pub(super) const PIECE: usize = 1 << 18;

/// How pages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Pinned,
    Looked,
}

/// Memory of ours through which pages go; one serves for many processes.
#[derive(Debug)]
pub struct Buffer(pub(super) Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(vec![0; PIECE])
    }
}

/// Gathers pages until a piece is full, then writes it by one call.
pub(super) struct Copy<'a> {
    pid: i32,
    /// `/proc/PID/mem`, which needs no read permission of the mapping either.
    memory: OwnedFd,
    pagemap: OwnedFd,
    buffer: &'a mut [u8],
    /// Bytes of the buffer that hold content.
    filled: usize,
    /// What follows them as soon as it is read.
    pinned: Vec<RemoteRange>,
    pinned_bytes: usize,
}

impl<'a> Copy<'a> {
    pub fn of(proc: &ProcDir, buffer: &'a mut Buffer) -> Result<Self> {
        Ok(Copy {
            pid: proc.pid(),
            memory: proc.open_file("mem", OFlags::RDONLY)?,
            pagemap: proc.open_file("pagemap", OFlags::RDONLY)?,
            buffer: &mut buffer.0,
            filled: 0,
            pinned: Vec::new(),
            pinned_bytes: 0,
        })
    }

    /// Adds a run; `readable` tells whether its mapping can be read.
    pub fn add(&mut self, run: PageRun, readable: bool, sink: &mut dyn PageSink) -> io::Result<()> {
        if !readable {
            return self.add_part(run, Way::Looked, sink);
        }
        for (part, way) in ways(self.pagemap.as_fd(), run)? {
            self.add_part(part, way, sink)?;
        }
        Ok(())
    }

    fn add_part(&mut self, run: PageRun, way: Way, sink: &mut dyn PageSink) -> io::Result<()> {
        let mut address = run.start;
        while address < run.end() {
            if self.len() == PIECE || self.pinned.len() == MAX_RANGES {
                self.flush(sink)?;
            }
            let room = PIECE - self.len();
            let len = usize::try_from(run.end() - address).unwrap_or(PIECE).min(room);
            match way {
                Way::Pinned => {
                    self.pinned.push(RemoteRange { address, len });
                    self.pinned_bytes += len;
                }
                Way::Looked => {
                    self.read_pinned()?;
                    let target = &mut self.buffer[self.filled..self.filled + len];
                    read_exact_at(self.memory.as_fd(), target, address)?;
                    self.filled += len;
                }
            }
            address += len as u64;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.filled + self.pinned_bytes
    }

    fn read_pinned(&mut self) -> io::Result<()> {
        if self.pinned.is_empty() {
            return Ok(());
        }
        let target = &mut self.buffer[self.filled..self.filled + self.pinned_bytes];
        if memory::read(self.pid, &self.pinned, target)? != target.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += self.pinned_bytes;
        self.pinned.clear();
        self.pinned_bytes = 0;
        Ok(())
    }

    /// Writes what was gathered.
    pub fn flush(&mut self, sink: &mut dyn PageSink) -> io::Result<()> {
        if self.len() == 0 {
            return Ok(());
        }
        sink.may_go_on()?;
        self.read_pinned()?;
        write_all(sink.file(), &self.buffer[..self.filled])?;
        self.filled = 0;
        Ok(())
    }
}

/// Cuts a run by how its pages are to be read (Documentation/admin-guide/mm/pagemap.rst).
fn ways(pagemap: BorrowedFd<'_>, run: PageRun) -> io::Result<Vec<(PageRun, Way)>> {
    const EXCLUSIVE: u64 = 1 << 56;
    const WORD: usize = 8;
    const MOST: u64 = 4096;
    let mut parts: Vec<(PageRun, Way)> = Vec::new();
    let mut words = vec![0; WORD * usize::try_from(run.nr_pages.min(MOST)).unwrap_or(0)];
    let mut address = run.start;
    while address < run.end() {
        let nr_pages = ((run.end() - address) / PAGE_SIZE).min(MOST);
        let words = &mut words[..WORD * usize::try_from(nr_pages).unwrap_or(0)];
        read_exact_at(pagemap, words, address / PAGE_SIZE * WORD as u64)?;
        for word in words.chunks_exact(WORD) {
            let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
            let way = if word & EXCLUSIVE != 0 { Way::Pinned } else { Way::Looked };
            match parts.last_mut() {
                Some((last, same)) if *same == way => last.nr_pages += 1,
                _ => parts.push((PageRun { start: address, nr_pages: 1 }, way)),
            }
            address += PAGE_SIZE;
        }
    }
    Ok(parts)
}
