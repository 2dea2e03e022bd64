//! The contents of an archive, taken into the store as they come by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use stasis_enclosure::tar::{EntryKind, Reader};
use stasis_oci::{Digest, MAX_DOCUMENT_BYTES};

use crate::{
    Adding, Blob, compression,
    error::{Context, Error, Result},
};

const BUFFER_BYTES: usize = 256 << 10;
const MAX_MEMBERS: usize = 100_000;
const MAX_LINKS: usize = 40;

/// What an archive held.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Lists at the top: `manifest.json`, `index.json`, `repositories`.
    lists: BTreeMap<PathBuf, Vec<u8>>,
    blobs: BTreeMap<PathBuf, Blob>,
    links: BTreeMap<PathBuf, PathBuf>,
    /// Contents that were not in the store before.
    pub fresh: BTreeSet<Digest>,
}

impl Collected {
    /// Reads a tar, compressed or not, to its end.
    ///
    /// # Errors
    /// [`Error::Enclosure`] for a garbled archive, [`Error::WrongDigest`] for a content that is not
    /// what its name says.
    pub fn read_archive(&mut self, adding: &Adding, input: &mut (dyn Read + Send)) -> Result<()> {
        let (_, mut plain) = compression::decompressed(input).context("read", "the archive")?;
        let mut archive = Reader::new(&mut plain);
        while let Some(entry) = archive.next_entry()? {
            match entry.kind {
                EntryKind::File { len_bytes } => {
                    let mut copy = |out: &mut dyn Write| Ok(archive.copy(out)?);
                    self.file(adding, entry.path, len_bytes, &mut copy)?;
                }
                EntryKind::Link(target) => drop(self.links.insert(entry.path, target)),
                EntryKind::Other => {}
            }
            self.check_count()?;
        }
        Ok(())
    }

    /// Reads a directory with the same contents. Links in it are not followed.
    ///
    /// # Errors
    /// As [`Collected::read_archive`].
    pub fn read_dir(&mut self, adding: &Adding, dir: &Path) -> Result<()> {
        let mut left = vec![PathBuf::new()];
        while let Some(below) = left.pop() {
            let shown = dir.join(&below);
            for entry in fs::read_dir(&shown).context("read", shown.display())? {
                let entry = entry.context("read", shown.display())?;
                let kind = entry.file_type().context("look at", entry.path().display())?;
                let path = below.join(entry.file_name());
                if kind.is_dir() {
                    left.push(path);
                } else if kind.is_file() {
                    self.file_of_dir(adding, path, &entry.path())?;
                }
                self.check_count()?;
            }
        }
        Ok(())
    }

    fn file_of_dir(&mut self, adding: &Adding, path: PathBuf, source: &Path) -> Result<()> {
        let mut file = File::open(source).context("open", source.display())?;
        let len_bytes = file.metadata().context("look at", source.display())?.len();
        let mut copy = |out: &mut dyn Write| {
            std::io::copy(&mut file, &mut { out }).context("read", source.display()).map(drop)
        };
        self.file(adding, path, len_bytes, &mut copy)
    }

    fn check_count(&self) -> Result<()> {
        if self.blobs.len() + self.links.len() + self.lists.len() <= MAX_MEMBERS {
            return Ok(());
        }
        Err(Error::Invalid(format!("the archive has more than {MAX_MEMBERS} members")))
    }

    fn file(
        &mut self,
        adding: &Adding,
        path: PathBuf,
        len_bytes: u64,
        copy: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        if is_list(&path) {
            if len_bytes > MAX_DOCUMENT_BYTES as u64 {
                let name = path.display();
                return Err(Error::Invalid(format!("{name} of the archive is too large")));
            }
            let mut text = Vec::new();
            copy(&mut text)?;
            self.lists.insert(path, text);
            return Ok(());
        }
        let expected = expected_digest(&path)?;
        if let Some(digest) = expected.filter(|digest| adding.store().has_blob(digest)) {
            self.blobs.insert(path, Blob { digest, size: len_bytes });
            return Ok(());
        }
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, adding.new_blob()?);
        copy(&mut out)?;
        out.flush().context("write", path.display())?;
        let writer = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        let writer = writer.context("write", path.display())?;
        let is_known = |blob: &Blob| adding.store().has_blob(&blob.digest);
        let (blob, was_known) = writer.finish_unless(expected.as_ref(), is_known)?;
        if !was_known {
            self.fresh.insert(blob.digest);
        }
        self.blobs.insert(path, blob);
        Ok(())
    }

    /// One of the lists at the top.
    pub fn list(&self, name: &str) -> Option<&[u8]> {
        self.lists.get(Path::new(name)).map(Vec::as_slice)
    }

    /// The content at a path, through links of the archive.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not in the archive.
    pub fn blob(&self, path: &str) -> Result<Blob> {
        // As the components of a path, `./a` and `a` are the same.
        let mut at: PathBuf = Path::new(path).components().collect();
        for _ in 0..MAX_LINKS {
            if let Some(blob) = self.blobs.get(&at) {
                return Ok(*blob);
            }
            match self.links.get(&at) {
                Some(target) => at = target.clone(),
                None => break,
            }
        }
        Err(Error::Invalid(format!("the archive names {path:?}, which is not in it")))
    }

    /// Is it an archive of the first kind, from before 2014?
    pub fn has_only_repositories(&self) -> bool {
        self.list("repositories").is_some()
    }
}

fn is_list(path: &Path) -> bool {
    ["manifest.json", "index.json", "repositories", "oci-layout"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// In an OCI layout the name of a file is its digest.
fn expected_digest(path: &Path) -> Result<Option<Digest>> {
    let Ok(name) = path.strip_prefix("blobs/sha256") else { return Ok(None) };
    let hex = name.to_str().unwrap_or_default();
    Ok(Some(Digest::from_hex(hex)?))
}
