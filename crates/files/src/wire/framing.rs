//! Headers, records and the raw bytes between them.
//!
//! A record is a 32-bit length and the message. Files of format version 1 lack the common magic;
//! both are understood everywhere, since the two magics can never be mistaken for each other.

use prost::Message;

use super::{
    magic::{COMMON, Format, Header, SERVICE},
    required,
};
use crate::{Error, Result};

/// Longest record that is looked at, bytes. The longest that real programs have is the list of their
/// mappings, which is some MiB at most with the default limits of the kernel.
pub const MAX_RECORD: usize = 64 << 20;

/// Reads the records of one file from its bytes.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    file: &'a str,
    bytes: &'a [u8],
    position: usize,
    record: usize,
}

impl<'a> Records<'a> {
    /// Checks the header of `bytes`, the contents of `file`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is of another kind.
    pub fn open(file: &'a str, format: &Format, bytes: &'a [u8]) -> Result<Self> {
        let mut records = Records { file, bytes, position: 0, record: 0 };
        let first = match format.header {
            Header::Raw => return Ok(records),
            Header::Common => Some(COMMON),
            Header::Service => Some(SERVICE),
            Header::Own => None,
        };
        let mut word = records.word()?;
        if Some(word) == first {
            word = records.word()?;
        }
        if word == format.magic {
            Ok(records)
        } else {
            Err(records.corrupt(format!("begins with {word:#x} instead of {:#x}", format.magic)))
        }
    }

    /// Reads one record, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is cut short, too long or no such message.
    pub fn one<M: Message + Default>(&mut self) -> Result<Option<M>> {
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        self.record += 1;
        let len = self.word()? as usize;
        if len > MAX_RECORD {
            return Err(self.corrupt(format!("is {len} bytes long, the limit is {MAX_RECORD}")));
        }
        let bytes = self.take(len)?;
        decode(bytes).map(Some).map_err(|reason| self.corrupt(reason))
    }

    /// Reads the one record that must be there.
    ///
    /// # Errors
    /// As for [`Records::one`], and if there is none.
    pub fn single<M: Message + Default>(&mut self) -> Result<M> {
        self.one()?.ok_or_else(|| self.corrupt("is empty"))
    }

    /// Reads all that follow.
    ///
    /// # Errors
    /// As for [`Records::one`].
    pub fn all<M: Message + Default>(&mut self) -> Result<Vec<M>> {
        let mut messages = Vec::new();
        while let Some(message) = self.one()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Takes `len` raw bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there are fewer.
    pub fn raw(&mut self, len: u64) -> Result<&'a [u8]> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.take(len)
    }

    /// Takes the raw bytes up to the end.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    /// Offset of what comes next, bytes.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Number of the record read last, counted from 1.
    pub fn record(&self) -> usize {
        self.record
    }

    fn word(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.corrupt("is cut short"))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// What is wrong with the record that was read last.
    pub(super) fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            file: self.file.into(),
            record: (self.record > 0).then_some(self.record),
            field: None,
            reason: reason.into(),
        }
    }
}

/// Decodes a message; a reason in words if it is none, or lacks what it must have.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> std::result::Result<M, String> {
    let message = M::decode(bytes).map_err(|error| error.to_string())?;
    required::check(bytes, &message.encode_to_vec()).map_err(|missing| missing.to_string())?;
    Ok(message)
}

/// The bytes of a file in the making.
#[derive(Clone, Debug)]
pub struct RecordWriter {
    bytes: Vec<u8>,
}

impl RecordWriter {
    /// Begins a file with its header.
    pub fn new(format: &Format) -> Self {
        let mut written = RecordWriter { bytes: Vec::new() };
        match format.header {
            Header::Raw => return written,
            Header::Common => written.word(COMMON),
            Header::Service => written.word(SERVICE),
            Header::Own => {}
        }
        written.word(format.magic);
        written
    }

    /// Appends a record.
    pub fn record(&mut self, message: &impl Message) {
        let encoded = message.encode_to_vec();
        self.word(u32::try_from(encoded.len()).expect("a message of less than 4 GiB"));
        self.bytes.extend_from_slice(&encoded);
    }

    /// Appends raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{RecordWriter, Records};
    use crate::wire::{magic::format_of, pstree::PstreeEntry};

    fn pstree() -> Vec<u8> {
        let mut written = RecordWriter::new(format_of("pstree.img").unwrap());
        for pid in [7, 8] {
            written.record(&PstreeEntry { pid, threads: vec![pid], ..Default::default() });
        }
        written.into_bytes()
    }

    fn pids(bytes: &[u8]) -> crate::Result<Vec<u32>> {
        let format = format_of("pstree.img").unwrap();
        let entries = Records::open("pstree.img", format, bytes)?.all::<PstreeEntry>()?;
        Ok(entries.iter().map(|entry| entry.pid).collect())
    }

    #[test]
    fn records_come_back() {
        assert_eq!(pids(&pstree()).unwrap(), [7, 8]);
    }

    #[test]
    fn version_1_lacks_the_common_magic() {
        assert_eq!(pids(&pstree()[4..]).unwrap(), [7, 8]);
    }

    #[test]
    fn what_is_cut_short_is_told_with_its_place() {
        let bytes = pstree();
        let error = pids(&bytes[..bytes.len() - 1]).unwrap_err().to_string();
        assert_eq!(error, "checkpoint file pstree.img, record 2: is cut short");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut bytes = pstree();
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(pids(&bytes).unwrap_err().to_string().contains("the limit is"));
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        let written = RecordWriter::new(format_of("files.img").unwrap()).into_bytes();
        assert!(pids(&written).unwrap_err().to_string().contains("begins with"));
    }
}
