//! Layers are read and decompressed in one thread, and hashed in another, while the files are made: the
//! same few chunks go round, from who fills them to who uses them, to who hashes them.

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
/// Enough to make up for one another: a large file is written faster than it is hashed, small ones slower.
const NR_CHUNKS: usize = 16;

/// Fills chunks.
pub(crate) struct Filling<R> {
    input: R,
    max_bytes: u64,
    filled: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

/// Reads what chunks hold.
pub(crate) struct Ahead<'a> {
    filled: Receiver<io::Result<Vec<u8>>>,
    used: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    read: &'a AtomicU64,
    progress: &'a mut dyn Progress,
}

/// Gives chunks that were used back, and hashes them if that is still to be done.
pub(crate) struct Hashing {
    digest: Wanted,
    used: Receiver<Vec<u8>>,
    empty: SyncSender<Vec<u8>>,
}

/// Is the digest of what is read known already?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Computed,
    /// What is read is the blob as it is, which was hashed when it was added.
    Known(Digest),
}

/// The three sides. `read` says how much of the blob was read, and is told to `progress`.
pub(crate) fn round<'a, R: Read>(
    (input, digest): (R, Wanted),
    max_bytes: u64,
    read: &'a AtomicU64,
    progress: &'a mut dyn Progress,
) -> (Filling<R>, Ahead<'a>, Hashing) {
    // There is room for all chunks everywhere: nobody waits to pass one on.
    let (filled_in, filled) = sync_channel(NR_CHUNKS);
    let (used_in, used) = sync_channel(NR_CHUNKS);
    let (empty_in, empty) = sync_channel(NR_CHUNKS);
    for _ in 0..NR_CHUNKS {
        let _ = empty_in.send(Vec::new());
    }
    let filling = Filling { input, max_bytes, filled: filled_in, empty };
    let ahead = Ahead { filled, used: used_in, chunk: Vec::new(), at: 0, read, progress };
    (filling, ahead, Hashing { digest, used, empty: empty_in })
}

/// Whether a stream was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    End,
    /// It was broken, or nobody wanted more.
    Middle,
}

impl<R: Read> Filling<R> {
    pub fn run(mut self) -> Reached {
        let mut left = self.max_bytes;
        while let Ok(mut chunk) = self.empty.recv() {
            let read = self.fill(&mut chunk, &mut left);
            if read.as_ref().is_ok_and(|()| chunk.is_empty()) {
                return Reached::End;
            }
            let is_over = read.is_err();
            if self.filled.send(read.map(|()| chunk)).is_err() || is_over {
                break;
            }
        }
        Reached::Middle
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

impl Hashing {
    /// The digest of all that was used.
    pub fn run(self) -> Digest {
        let mut hasher = Hasher::default();
        while let Ok(chunk) = self.used.recv() {
            if self.digest == Wanted::Computed {
                hasher.update(&chunk);
            }
            // Who fills them may have come to the end.
            let _ = self.empty.send(chunk);
        }
        match self.digest {
            Wanted::Computed => hasher.finish(),
            Wanted::Known(digest) => digest,
        }
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let used = std::mem::take(&mut self.chunk);
            self.at = 0;
            if !used.is_empty() {
                let _ = self.used.send(used);
            }
            // Who fills the chunks leaves without a word at the end of the stream.
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
