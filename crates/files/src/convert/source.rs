//! Where the bytes of checkpoint files come from.

use std::{borrow::Cow, collections::BTreeMap};

use prost::Message;

use crate::{
    Error, Result,
    wire::{framing::RecordWriter, framing::Records, magic::Format, magic::format_of},
};

/// A set of checkpoint files by name.
///
/// It may be asked from several threads at once.
pub trait Source: Sync {
    /// All of a file, or `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Corrupt`] if it is too long to be looked at.
    fn read(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>>;

    /// The beginning of a file, at most `len` bytes.
    ///
    /// # Errors
    /// [`Error::Io`]
    fn head(&self, name: &str, len: usize) -> Result<Option<Cow<'_, [u8]>>>;

    /// Length of a file, bytes.
    ///
    /// # Errors
    /// [`Error::Io`]
    fn len(&self, name: &str) -> Result<Option<u64>>;

    /// Whether there is such a file.
    fn has(&self, name: &str) -> bool;
}

impl Source for BTreeMap<String, Vec<u8>> {
    fn read(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(self.get(name).map(|bytes| Cow::Borrowed(bytes.as_slice())))
    }

    fn head(&self, name: &str, len: usize) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(self.get(name).map(|bytes| Cow::Borrowed(&bytes[..len.min(bytes.len())])))
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.get(name).map(|bytes| bytes.len() as u64))
    }

    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }
}

/// Messages out of a [`Source`]. A missing file is an empty one, unless it is needed.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(pub &'a dyn Source);

impl<'a> Input<'a> {
    /// All records of a file that holds nothing else.
    pub fn all<M: Message + Default>(self, name: &str) -> Result<Vec<M>> {
        match self.0.read(name)? {
            Some(bytes) => Records::open(name, known(name), &bytes)?.all(),
            None => Ok(Vec::new()),
        }
    }

    /// The first record of a file.
    pub fn first<M: Message + Default>(self, name: &str) -> Result<Option<M>> {
        match self.0.read(name)? {
            Some(bytes) => Records::open(name, known(name), &bytes)?.single().map(Some),
            None => Ok(None),
        }
    }

    /// The first record of a file that must be there.
    pub fn need<M: Message + Default>(
        self,
        name: &str,
        needed_for: impl Into<String>,
    ) -> Result<M> {
        self.first(name)?
            .ok_or_else(|| Error::Missing { file: name.into(), needed_for: needed_for.into() })
    }

    /// Records, each followed by as many raw bytes as `len` tells.
    pub fn with_payload<M: Message + Default>(
        self,
        name: &str,
        len: impl Fn(&M) -> u64,
    ) -> Result<Vec<(M, Vec<u8>)>> {
        let Some(bytes) = self.0.read(name)? else { return Ok(Vec::new()) };
        let mut records = Records::open(name, known(name), &bytes)?;
        let mut all = Vec::new();
        while let Some(message) = records.one::<M>()? {
            let payload = records.raw(len(&message))?.to_vec();
            all.push((message, payload));
        }
        Ok(all)
    }
}

/// Checkpoint files in the making.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Output {
    pub fn single(&mut self, name: impl Into<String>, message: &impl Message) {
        self.all(name, std::slice::from_ref(message));
    }

    /// Writes a file, unless there is nothing to say.
    pub fn all<M: Message>(&mut self, name: impl Into<String>, messages: &[M]) {
        if messages.is_empty() {
            return;
        }
        let name = name.into();
        let mut written = RecordWriter::new(known(&name));
        for message in messages {
            written.record(message);
        }
        self.files.insert(name, written.into_bytes());
    }

    pub fn with_payload<M: Message>(&mut self, name: &str, messages: &[(M, &[u8])]) {
        if messages.is_empty() {
            return;
        }
        let mut written = RecordWriter::new(known(name));
        for (message, payload) in messages {
            written.record(message);
            written.raw(payload);
        }
        self.files.insert(name.into(), written.into_bytes());
    }
}

/// The format of a file by its name.
pub(super) fn known(name: &str) -> &'static Format {
    format_of(name).expect("only files whose format is known are asked for")
}
