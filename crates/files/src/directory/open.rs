//! Opening checkpoint files.
//!
//! They come from outside: what is opened is a regular file of the directory itself, never what a
//! link leads to, and a FIFO cannot hold us up.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{Error, Result};

/// Longest file that is taken into memory, bytes. Those with page, ghost and tmpfs contents are not.
const MAX_FILE: u64 = 1 << 30;

/// Opens a file for reading, or says that there is none.
pub(super) fn open(dir: &Path, name: &str) -> Result<Option<File>> {
    Ok(open_with_len(dir, name)?.map(|(file, _)| file))
}

/// The same, and tells its length, bytes.
fn open_with_len(dir: &Path, name: &str) -> Result<Option<(File, u64)>> {
    let path = dir.join(name);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let metadata = file.metadata().map_err(Error::io("look at", &path))?;
    match metadata.is_file() {
        true => Ok(Some((file, metadata.len()))),
        false => Err(corrupt(name, "is no regular file")),
    }
}

/// Length of a file, bytes.
pub(super) fn len(dir: &Path, name: &str, file: &File) -> Result<u64> {
    Ok(file.metadata().map_err(Error::io("look at", dir.join(name)))?.len())
}

/// Reads all of a file.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let Some((file, len)) = open_with_len(dir, name)? else { return Ok(None) };
    if len > MAX_FILE {
        return Err(corrupt(name, format!("is {len} bytes long, the limit is {MAX_FILE}")));
    }
    head_of(dir, name, (file, len), MAX_FILE).map(Some)
}

/// Reads the beginning of a file.
pub(super) fn head(dir: &Path, name: &str, len: usize) -> Result<Option<Vec<u8>>> {
    let file = open_with_len(dir, name)?;
    file.map(|file| head_of(dir, name, file, len as u64)).transpose()
}

fn head_of(dir: &Path, name: &str, (file, len): (File, u64), most: u64) -> Result<Vec<u8>> {
    // There are many small ones: each is read by one call, and another that finds the end.
    let expected = usize::try_from(len.min(most)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(most).read_to_end(&mut bytes).map_err(Error::io("read", dir.join(name)))?;
    Ok(bytes)
}

/// Makes a new file that only its owner can read, since it holds a program's secrets.
pub(super) fn create(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(&path).map_err(Error::io("make", path))
}

/// Makes a new file with these contents.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    create(dir, name)?.write_all(bytes).map_err(Error::io("write", dir.join(name)))
}

pub(super) fn corrupt(name: &str, reason: impl Into<String>) -> Error {
    Error::Corrupt { file: name.into(), record: None, field: None, reason: reason.into() }
}
