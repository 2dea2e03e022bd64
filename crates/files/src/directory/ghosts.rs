//! Contents of files that have no name any more.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use prost::Message;
use stasis_model::{GhostContent, GhostFile, GhostId};

use super::open;
use crate::{
    Error, Result,
    convert::{ghost_entry, ghost_file},
    wire::{
        framing::{RecordWriter, Records, decode},
        magic::format_of,
        remap::{GhostChunkEntry, GhostFileEntry},
    },
};

/// Takes the content of one ghost.
#[derive(Debug)]
pub struct GhostWriter {
    path: PathBuf,
    file: File,
    /// `None` if it has no content, because it is no regular file.
    size: Option<u64>,
}

impl GhostWriter {
    pub(super) fn create(dir: &std::path::Path, id: GhostId, ghost: &GhostFile) -> Result<Self> {
        let name = ghost_file(id);
        let mut written = RecordWriter::new(format_of(&name).expect("ghosts have a format"));
        written.record(&ghost_entry(ghost));
        let path = dir.join(&name);
        let mut file = open::create(dir, &name)?;
        file.write_all(&written.into_bytes()).map_err(Error::io("write", &path))?;
        let size = match ghost.content {
            GhostContent::Regular { size } => Some(size),
            GhostContent::None | GhostContent::Symlink(_) => None,
        };
        Ok(GhostWriter { path, file, size })
    }

    /// Stores `len` bytes that belong at `offset`. What is never stored is a hole.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if they lie beyond the file's size, [`Error::Io`] also if `data` ends
    /// before.
    pub fn chunk(&mut self, offset: u64, data: &mut dyn Read, len: u64) -> Result<()> {
        let end = offset.checked_add(len);
        if end.zip(self.size).is_none_or(|(end, size)| end > size) {
            let object = format!("{len} bytes at {offset} of {}", self.path.display());
            return Err(Error::unwritable(object, "they lie beyond the end of the file"));
        }
        let record = GhostChunkEntry { len, off: offset }.encode_length_delimited_u32();
        self.file.write_all(&record).map_err(Error::io("write", &self.path))?;
        let copied = io::copy(&mut data.take(len), &mut self.file);
        if copied.map_err(Error::io("write", &self.path))? == len {
            Ok(())
        } else {
            Err(Error::io("write", &self.path)(io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

impl GhostChunkEntry {
    /// The record as it stands in a file: with its length before it.
    fn encode_length_delimited_u32(&self) -> Vec<u8> {
        let message = self.encode_to_vec();
        let len = u32::try_from(message.len()).expect("two numbers");
        [&len.to_le_bytes(), message.as_slice()].concat()
    }
}

/// A part of a ghost that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GhostChunk {
    /// Where it belongs, bytes from the beginning of the ghost.
    pub offset: u64,
    pub len: u64,
    /// Where it lies, bytes from the beginning of the checkpoint file.
    pub file_offset: u64,
}

/// The content of a ghost that is a regular file; what no chunk covers is a hole.
#[derive(Debug)]
pub struct GhostReader {
    file: File,
    chunks: Vec<GhostChunk>,
}

impl GhostReader {
    pub(super) fn open(dir: &std::path::Path, id: GhostId) -> Result<Self> {
        let name = ghost_file(id);
        let file = open::open(dir, &name)?.ok_or_else(|| Error::Missing {
            file: name.clone(),
            needed_for: "an open file needs it".into(),
        })?;
        let len = open::len(dir, &name, &file)?;
        let chunks = ghost_chunks(&name, &file, len)?;
        Ok(GhostReader { file, chunks })
    }

    /// The checkpoint file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Each wholly inside the file and inside the ghost's size.
    pub fn chunks(&self) -> &[GhostChunk] {
        &self.chunks
    }
}

/// Bytes that can be read at any place.
pub trait ReadAt {
    /// Fills the buffer.
    ///
    /// # Errors
    /// If there are not so many bytes.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(buffer.len())?));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Longest header with the first record, bytes: the longest thing in it is a path.
const MAX_HEAD: u64 = 64 << 10;

/// Longest record of a chunk, bytes: two numbers, and room for what later releases may add.
const MAX_CHUNK_RECORD: u64 = 4 << 10;

/// Finds the stored parts in a ghost's file of `len` bytes called `name`.
///
/// # Errors
/// [`Error::Corrupt`] if it is cut short or a part is out of place.
pub fn ghost_chunks<R: ReadAt + ?Sized>(name: &str, file: &R, len: u64) -> Result<Vec<GhostChunk>> {
    let unreadable = |_| open::corrupt(name, "is cut short");
    let mut head = vec![0; usize::try_from(len.min(MAX_HEAD)).expect("at most 64 KiB")];
    file.read_exact_at(&mut head, 0).map_err(unreadable)?;
    let format = format_of(name).ok_or_else(|| open::corrupt(name, "is no ghost"))?;
    let mut records = Records::open(name, format, &head)?;
    let entry: GhostFileEntry = records.single()?;
    let mut position = records.position() as u64;
    if entry.chunks != Some(true) {
        let stored = len - position;
        let limit = entry.size.unwrap_or(stored);
        if stored > limit {
            return Err(open::corrupt(name, "holds more than the size of the file"));
        }
        let all = GhostChunk { offset: 0, len: stored, file_offset: position };
        return Ok(if stored == 0 { Vec::new() } else { vec![all] });
    }
    let size = entry.size.ok_or_else(|| open::corrupt(name, "does not tell the size"))?;
    let mut chunks = Vec::new();
    while position < len {
        let (record, start) = read_chunk_record(name, file, position)?;
        let fits = start.checked_add(record.len).is_some_and(|end| end <= len);
        let inside = record.off.checked_add(record.len).is_some_and(|end| end <= size);
        if !fits || !inside {
            let reason =
                format!("a chunk of {} bytes at {} is out of place", record.len, record.off);
            return Err(open::corrupt(name, reason));
        }
        chunks.push(GhostChunk { offset: record.off, len: record.len, file_offset: start });
        position = start + record.len;
    }
    Ok(chunks)
}

/// The record at `position`, and where the bytes after it begin.
fn read_chunk_record<R: ReadAt + ?Sized>(
    name: &str,
    file: &R,
    position: u64,
) -> Result<(GhostChunkEntry, u64)> {
    let unreadable = |_| open::corrupt(name, "is cut short");
    let mut word = [0; 4];
    file.read_exact_at(&mut word, position).map_err(unreadable)?;
    let len = u64::from(u32::from_le_bytes(word));
    if len > MAX_CHUNK_RECORD {
        return Err(open::corrupt(name, format!("a record is {len} bytes long")));
    }
    let start = position.checked_add(4).ok_or_else(|| open::corrupt(name, "is too long"))?;
    let mut bytes = vec![0; usize::try_from(len).expect("at most 4 KiB")];
    file.read_exact_at(&mut bytes, start).map_err(unreadable)?;
    let record: GhostChunkEntry = decode(&bytes).map_err(|reason| open::corrupt(name, reason))?;
    Ok((record, start + len))
}
