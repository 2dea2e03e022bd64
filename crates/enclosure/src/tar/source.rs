//! The stream, with the headers parsed out of it.

use std::{
    io::{ErrorKind, Read, Write},
    path::Path,
};

use tar_core::parse::{Limits, ParseEvent, Parser};

use super::{
    member::{Member, garbled},
    padding,
};
use crate::error::{Context, Result};

const BUFFER_BYTES: usize = 1 << 20;
const MAX_METADATA_BYTES: u32 = 4 << 20;
const MAX_SPARSE_ENTRIES: usize = 1 << 20;

/// Members one after the other; the contents of each are to be read or skipped before the next.
pub(super) struct Source<'a> {
    input: &'a mut dyn Read,
    parser: Parser,
    buffer: Vec<u8>,
    /// What was read and not yet used is `buffer[start..end]`.
    start: usize,
    end: usize,
    ending: Ending,
}

/// How an archive may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With the blocks of zeros that belong there.
    Marked,
    /// Also just so after a member: some makers of layers write nothing there.
    Bare,
}

impl<'a> Source<'a> {
    pub fn new(input: &'a mut dyn Read, ending: Ending) -> Source<'a> {
        let limits = Limits {
            max_metadata_size: MAX_METADATA_BYTES,
            max_path_len: Some(4096),
            max_sparse_entries: MAX_SPARSE_ENTRIES,
            ..Limits::default()
        };
        let mut parser = Parser::new(limits);
        // Times with fractions or before 1970 are read by us.
        parser.set_ignore_pax_errors(true);
        Source { input, parser, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, ending }
    }

    /// `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        loop {
            let unused = &self.buffer[self.start..self.end];
            let (consumed, member) = match self.parser.parse(unused).map_err(garbled)? {
                ParseEvent::NeedData { min_bytes } => {
                    if !self.fill(min_bytes)? {
                        return Ok(None);
                    }
                    continue;
                }
                ParseEvent::Entry { consumed, entry } => {
                    (consumed, Some(Member::new(&entry, None)?))
                }
                ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                    (consumed, Some(Member::new(&entry, Some((sparse_map, real_size)))?))
                }
                ParseEvent::GlobalExtensions { consumed, .. } => (consumed, None),
                ParseEvent::End { .. } => return Ok(None),
            };
            self.start += consumed;
            if member.is_some() {
                return Ok(member);
            }
        }
    }

    /// Reads until so much is there. `false` if the archive ends here and may.
    fn fill(&mut self, min_bytes: usize) -> Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < min_bytes {
            self.buffer.resize(min_bytes, 0);
        }
        while self.end < min_bytes {
            if self.read_more()? == 0 {
                if self.end == 0 && self.ending == Ending::Bare {
                    return Ok(false);
                }
                return Err(garbled("it ends too early"));
            }
        }
        Ok(true)
    }

    fn read_more(&mut self) -> Result<usize> {
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => {
                    let count = other.context("read", "the archive")?;
                    self.end += count;
                    return Ok(count);
                }
            }
        }
    }

    /// Hands the next bytes of the stream on.
    pub fn copy(&mut self, len_bytes: u64, out: &mut dyn Write, path: &Path) -> Result<()> {
        let mut left = len_bytes;
        while left > 0 {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
                if self.read_more()? == 0 {
                    return Err(garbled("it ends too early"));
                }
            }
            let there = (self.end - self.start).min(usize::try_from(left).unwrap_or(usize::MAX));
            let next = &self.buffer[self.start..self.start + there];
            out.write_all(next).context("write", path.display())?;
            self.start += there;
            left -= there as u64;
        }
        Ok(())
    }

    pub fn skip(&mut self, len_bytes: u64) -> Result<()> {
        self.copy(len_bytes, &mut std::io::sink(), Path::new("nowhere"))
    }

    /// Skips what fills the last block of contents of this length.
    pub fn skip_padding(&mut self, len_bytes: u64) -> Result<()> {
        self.skip(padding(len_bytes))
    }
}
