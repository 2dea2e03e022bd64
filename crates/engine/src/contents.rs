//! Page and ghost contents between kernel objects and checkpoint files.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use stasis_files::{GhostWriter, PageOwner, PageReader, PageWriter, Reader};
use stasis_model::{GhostId, PageRun, SegmentId, SocketId};
use stasis_objects::{
    content::{GhostSink, PageSink, PageSource, StoredQueues, StoredRun, write_all_at},
    thawing::Contents,
};

use crate::deadline::Deadline;

/// Pages into a checkpoint file.
pub struct Pages {
    pub pages: PageWriter,
    pub deadline: Deadline,
}

impl PageSink for Pages {
    fn file(&self) -> BorrowedFd<'_> {
        self.pages.file().as_fd()
    }

    fn may_go_on(&self) -> io::Result<()> {
        self.deadline.check()
    }

    fn record(&mut self, run: PageRun) -> io::Result<()> {
        self.pages.record(run, false).map_err(io::Error::other)
    }

    fn known(&self) -> &[PageRun] {
        self.pages.known()
    }

    fn record_known(&mut self, run: PageRun) -> io::Result<()> {
        self.pages.record_known(run).map_err(io::Error::other)
    }
}

/// The data of an unlinked file into a checkpoint file.
pub struct Ghost {
    pub ghost: GhostWriter,
    pub deadline: Deadline,
}

impl GhostSink for Ghost {
    fn copy(&mut self, from: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
        self.deadline.check()?;
        let mut reader = ReadAt { file: from, at: offset };
        self.ghost.chunk(offset, &mut reader, len).map_err(io::Error::other)
    }
}

struct ReadAt<'a> {
    file: BorrowedFd<'a>,
    at: u64,
}

impl io::Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = rustix::io::pread(self.file, buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// Pages out of a checkpoint.
pub struct StoredPages {
    reader: PageReader,
    runs: Vec<StoredRun>,
}

impl StoredPages {
    pub fn new(reader: PageReader) -> Self {
        let runs = reader
            .runs()
            .iter()
            .map(|stored| StoredRun { run: stored.run, file: stored.file, offset: stored.offset })
            .collect();
        StoredPages { reader, runs }
    }
}

impl PageSource for StoredPages {
    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.reader.files().iter().map(AsFd::as_fd).collect()
    }

    fn runs(&self) -> &[StoredRun] {
        &self.runs
    }
}

/// Contents of a checkpoint directory.
pub struct Directory<'a>(pub &'a Reader);

impl Contents for Directory<'_> {
    fn fill_ghost(&self, id: GhostId, file: BorrowedFd<'_>) -> io::Result<()> {
        let ghost = self.0.ghost(id).map_err(io::Error::other)?;
        let mut buffer = vec![0u8; 1 << 20];
        for chunk in ghost.chunks() {
            let mut done = 0;
            while done < chunk.len {
                let len = usize::try_from(chunk.len - done).unwrap_or(usize::MAX).min(buffer.len());
                let got =
                    rustix::io::pread(ghost.file(), &mut buffer[..len], chunk.file_offset + done)?;
                if got == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                write_all_at(file, &buffer[..got], chunk.offset + done)?;
                done += got as u64;
            }
        }
        Ok(())
    }

    fn segment(&self, id: SegmentId) -> io::Result<Option<Box<dyn PageSource>>> {
        let pages = self.0.pages(PageOwner::Segment(id)).map_err(io::Error::other)?;
        Ok(pages.map(|reader| Box::new(StoredPages::new(reader)) as Box<dyn PageSource>))
    }

    fn tcp_queues(&self, id: SocketId) -> io::Result<StoredQueues> {
        let stored = self.0.tcp_stream(id).map_err(io::Error::other)?;
        let queues = stored.queues();
        Ok(StoredQueues {
            file: stored.file().try_clone()?,
            start: queues.start,
            received_bytes: queues.received_bytes,
            outgoing_bytes: queues.outgoing_bytes,
        })
    }
}
