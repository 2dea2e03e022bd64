//! Layers are read, decompressed and hashed in a thread of their own, while the files are made.

use std::{
    io::{self, Read},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use stasis_oci::{Digest, Hasher};

use crate::layer::Progress;

const CHUNK_BYTES: usize = 1 << 20;
const NR_CHUNKS: usize = 4;

/// What came out of a stream that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub digest: Digest,
}

/// The side that reads.
pub(crate) struct Reader<R> {
    input: R,
    max_bytes: u64,
    filled: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

/// The side that uses what was read.
pub(crate) struct Ahead<'a> {
    filled: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    read: &'a AtomicU64,
    progress: &'a mut dyn Progress,
}

/// Both sides. `read` says how much of the blob was read, and is told to `progress`.
pub(crate) fn pair<'a, R: Read>(
    input: R,
    max_bytes: u64,
    read: &'a AtomicU64,
    progress: &'a mut dyn Progress,
) -> (Reader<R>, Ahead<'a>) {
    let (filled_in, filled) = sync_channel(NR_CHUNKS);
    let (empty, empty_out) = sync_channel(NR_CHUNKS);
    for _ in 0..NR_CHUNKS {
        // There is room for all, and the other end lives.
        let _ = empty.send(Vec::new());
    }
    let reader = Reader { input, max_bytes, filled: filled_in, empty: empty_out };
    (reader, Ahead { filled, empty, chunk: Vec::new(), at: 0, read, progress })
}

impl<R: Read> Reader<R> {
    /// Reads to the end, or until nobody wants more. `None` if it came to no end.
    pub fn run(mut self) -> Option<Outcome> {
        let mut hasher = Hasher::default();
        let mut left = self.max_bytes;
        while let Ok(mut chunk) = self.empty.recv() {
            let read = self.fill(&mut chunk, &mut left);
            let is_end = read.as_ref().is_ok_and(|()| chunk.is_empty());
            if is_end {
                return Some(Outcome { digest: hasher.finish() });
            }
            hasher.update(&chunk);
            let is_over = read.is_err();
            if self.filled.send(read.map(|()| chunk)).is_err() || is_over {
                break;
            }
        }
        None
    }

    fn fill(&mut self, chunk: &mut Vec<u8>, left: &mut u64) -> io::Result<()> {
        chunk.clear();
        chunk.reserve_exact(CHUNK_BYTES);
        (&mut self.input).take(CHUNK_BYTES as u64).read_to_end(chunk)?;
        *left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            let max = self.max_bytes;
            io::Error::other(format!("it is larger than the {max} bytes that are allowed for it"))
        })?;
        Ok(())
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let used = std::mem::take(&mut self.chunk);
            let _ = self.empty.send(used);
            self.at = 0;
            // The reader leaves without a word at the end of the stream.
            let Ok(chunk) = self.filled.recv() else { return Ok(0) };
            self.chunk = chunk?;
            self.progress.at(self.read.load(Ordering::Relaxed));
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Counts what is read through it.
pub(crate) struct Counted<'a, R> {
    pub input: R,
    pub read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
