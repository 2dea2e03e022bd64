//! The log of a container: one JSON object per line of output, as Docker's `json-file` driver
//! writes them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};

/// A longer line is cut into entries of this size.
const MAX_LINE_BYTES: usize = 16 << 10;
/// How much is looked at a time when the end of a log is searched.
const TAIL_BLOCK_BYTES: u64 = 64 << 10;

/// Where a line came out of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// One line, or a part of a long one; the last part ends with a line feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub log: String,
    pub stream: Stream,
    pub time: Timestamp,
}

/// Cuts output into lines and appends them.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    pending: [Vec<u8>; 2],
}

impl Writer {
    /// Opens a log for appending.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn open(path: &Path) -> Result<Writer> {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .context("open", path.display())?;
        Ok(Writer { file, pending: [Vec::new(), Vec::new()] })
    }

    /// Takes what a stream gave; whole lines go to the file.
    ///
    /// # Errors
    /// Of write(2); what was pending is lost.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let pending = &mut self.pending[stream as usize];
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            pending.extend_from_slice(part);
            while pending.len() > MAX_LINE_BYTES {
                let rest = pending.split_off(character_border(pending, MAX_LINE_BYTES));
                lines.push(std::mem::replace(pending, rest));
            }
            if pending.ends_with(b"\n") {
                lines.push(std::mem::take(pending));
            }
        }
        self.append(stream, &lines)
    }

    /// Writes what is there of unfinished lines.
    ///
    /// # Errors
    /// Of write(2).
    pub fn flush(&mut self) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.pending[stream as usize]);
            if !rest.is_empty() {
                self.append(stream, &[rest])?;
            }
        }
        Ok(())
    }

    fn append(&mut self, stream: Stream, lines: &[Vec<u8>]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let time = Timestamp::now();
        let mut text = Vec::new();
        for line in lines {
            let log = String::from_utf8_lossy(line).into_owned();
            serde_json::to_writer(&mut text, &Entry { log, stream, time })?;
            text.push(b'\n');
        }
        // One write(2), so that readers and a full disk see whole lines.
        self.file.write_all(&text)
    }
}

/// The last place not behind `at` where no character is torn.
fn character_border(bytes: &[u8], at: usize) -> usize {
    let is_continuation = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    let lowest = at.saturating_sub(3);
    (lowest..=at).rev().find(|at| !is_continuation(*at)).unwrap_or(at)
}

/// Reads a log, and goes on when more was written.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<io::Take<File>>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Opens a log at its beginning, or before its last `tail` lines; `None` if nothing was ever logged.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn open(path: &Path, tail: Option<usize>) -> Result<Option<Reader>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context("open", path.display())?,
        };
        if let Some(lines) = tail {
            let at = tail_position(&mut file, lines).context("read", path.display())?;
            file.seek(SeekFrom::Start(at)).context("read", path.display())?;
        }
        Ok(Some(Reader { file: BufReader::new(file.take(u64::MAX)), partial: Vec::new() }))
    }

    /// Opens the first `len_bytes` of a log; `None` if nothing was ever logged.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the file system.
    pub fn open_up_to(path: &Path, len_bytes: u64) -> Result<Option<Reader>> {
        let Some(mut reader) = Reader::open(path, None)? else { return Ok(None) };
        reader.file.get_mut().set_limit(len_bytes);
        Ok(Some(reader))
    }

    /// The next entry that is wholly written; lines that are not ours are passed over.
    ///
    /// # Errors
    /// Of read(2).
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            self.file.read_until(b'\n', &mut self.partial)?;
            if !self.partial.ends_with(b"\n") {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.partial);
            if let Ok(entry) = serde_json::from_slice(&line) {
                return Ok(Some(entry));
            }
        }
    }
}

/// Where the last `lines` lines begin, found from the end.
fn tail_position(file: &mut File, lines: usize) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut left = lines;
    let whole = end;
    while end > 0 {
        let start = end.saturating_sub(TAIL_BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        io::Read::read_exact(file, &mut block)?;
        for (at, byte) in block.iter().enumerate().rev() {
            let at = start + at as u64;
            if *byte == b'\n' && at + 1 != whole {
                left -= 1;
                if left == 0 {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(parts: &[(Stream, &[u8])], tail: Option<usize>) -> Vec<(Stream, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        for (stream, bytes) in parts {
            writer.take(*stream, bytes).unwrap();
        }
        writer.flush().unwrap();
        let mut reader = Reader::open(&path, tail).unwrap().unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            entries.push((entry.stream, entry.log));
        }
        entries
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let out = Stream::Stdout;
        let entries = log_of(&[(out, b"a"), (Stream::Stderr, b"x\n"), (out, b"b\nc")], None);
        let expect = [(Stream::Stderr, "x\n"), (out, "ab\n"), (out, "c")];
        assert_eq!(entries, expect.map(|(s, t)| (s, t.to_owned())));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "ä".repeat(MAX_LINE_BYTES) + "\n";
        let entries = log_of(&[(Stream::Stdout, long.as_bytes())], None);
        assert!(entries.len() > 1);
        let whole: String = entries.into_iter().map(|(_, text)| text).collect();
        assert_eq!(whole, long);
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let lines = [(Stream::Stdout, &b"1\n2\n3\n"[..])];
        let texts = |tail| log_of(&lines, Some(tail)).into_iter().map(|e| e.1).collect::<String>();
        assert_eq!(texts(0), "");
        assert_eq!(texts(2), "2\n3\n");
        assert_eq!(texts(9), "1\n2\n3\n");
    }
}
