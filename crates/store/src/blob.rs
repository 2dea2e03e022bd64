//! Contents by digest, on their way in.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use stasis_oci::{Digest, Hasher};

use crate::{
    Hold,
    disk::Layout,
    error::{Context, Error, Result},
};

const READ_BYTES: usize = 1 << 20;

/// A content that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
}

/// Writes a content into the store; it is there when [`BlobWriter::finish`] says so.
///
/// One that is dropped before leaves nothing behind, unless its digest was given at the beginning:
/// then what was written stays for the next writer of that digest.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    place: Place,
    hasher: Hasher,
    len_bytes: u64,
    layout: Layout,
    _hold: Hold,
}

/// Where a content grows.
#[derive(Debug)]
enum Place {
    Unnamed(tempfile::TempPath),
    /// Its file is locked, so that two commands do not write to it at once.
    Resumable(PathBuf),
}

impl BlobWriter {
    pub(crate) fn unnamed(layout: &Layout, hold: Hold) -> Result<BlobWriter> {
        let dir = layout.partials();
        let file = tempfile::Builder::new().prefix(".new-").tempfile_in(&dir);
        let (file, path) = file.context("make a file in", dir.display())?.into_parts();
        Ok(BlobWriter {
            file,
            place: Place::Unnamed(path),
            hasher: Hasher::default(),
            len_bytes: 0,
            layout: layout.clone(),
            _hold: hold,
        })
    }

    /// Goes on where an earlier writer of this digest was cut off.
    pub(crate) fn resumable(layout: &Layout, hold: Hold, digest: &Digest) -> Result<BlobWriter> {
        let path = layout.partial(digest);
        let mut file = open_locked(&path)?;
        let (hasher, len_bytes) = hash_all(&mut file).context("read", path.display())?;
        let place = Place::Resumable(path);
        Ok(BlobWriter { file, place, hasher, len_bytes, layout: layout.clone(), _hold: hold })
    }

    /// How many bytes there are so far; a resumed download goes on from here.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Forgets what was written, for a server that cannot go on in the middle.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn start_over(&mut self) -> Result<()> {
        let restart = |file: &mut File| file.set_len(0).and_then(|()| file.rewind());
        restart(&mut self.file).context("empty", "a half-written content")?;
        self.hasher = Hasher::default();
        self.len_bytes = 0;
        Ok(())
    }

    /// Puts the content into the store, on disk.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] if it is not what was expected: it is thrown away then.
    /// [`Error::Refused`] by the file system.
    pub fn finish(self, expected: Option<&Digest>) -> Result<Blob> {
        self.finish_unless(expected, |_| false).map(|(blob, _)| blob)
    }

    /// As [`BlobWriter::finish`], but what `is_known` is thrown away; tells whether it was.
    pub(crate) fn finish_unless(
        self,
        expected: Option<&Digest>,
        is_known: impl FnOnce(&Blob) -> bool,
    ) -> Result<(Blob, bool)> {
        let found = self.hasher.finish();
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            self.place.discard();
            return Err(Error::WrongDigest { expected: *expected, found });
        }
        let blob = Blob { digest: found, size: self.len_bytes };
        if is_known(&blob) {
            self.place.discard();
            return Ok((blob, true));
        }
        let path = self.layout.blob(&found);
        self.file.sync_all().context("sync", path.display())?;
        self.place.become_blob(&path)?;
        Ok((blob, false))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.len_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Place {
    /// The same content may have come from elsewhere meanwhile; then this replaces it by itself.
    fn become_blob(self, blob: &std::path::Path) -> Result<()> {
        let renamed = match self {
            Place::Unnamed(path) => path.persist(blob).map_err(|error| error.error),
            Place::Resumable(path) => fs::rename(path, blob),
        };
        renamed.context("write", blob.display())
    }

    fn discard(self) {
        if let Place::Resumable(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// Waits for other commands that write the same content.
fn open_locked(path: &std::path::Path) -> Result<File> {
    loop {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).context("open", path.display())?;
        file.lock().context("lock", path.display())?;
        // Whoever held the lock may have moved the file into the store.
        if is_still(&file, path).context("look at", path.display())? {
            return Ok(file);
        }
    }
}

fn is_still(file: &File, path: &std::path::Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(named) => Ok(named.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a file to its end.
pub(crate) fn hash_all(file: &mut dyn Read) -> io::Result<(Hasher, u64)> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut hasher, mut len_bytes) = (Hasher::default(), 0);
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            return Ok((hasher, len_bytes));
        }
        hasher.update(&buffer[..count]);
        len_bytes += count as u64;
    }
}
