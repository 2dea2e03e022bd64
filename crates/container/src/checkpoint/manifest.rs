//! Lengths and checksums of all files of a checkpoint, so that a damaged one is never restored.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Error, Result},
    record,
};

pub(super) const FILE: &str = "checksums.json";
const READ_BYTES: usize = 1 << 20;
/// Deeper than any checkpoint is.
const MAX_DEPTH: usize = 4;

/// Paths below the checkpoint with what belongs there.
pub(super) type Manifest = BTreeMap<PathBuf, Sum>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub len_bytes: u64,
    pub blake3: String,
}

/// Computes the sums of all files below `dir` but those that are known and on disk already, syncs each,
/// and writes them down.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(super) fn seal(dir: &Path, known: &Manifest) -> Result<()> {
    let mut manifest = known.clone();
    for path in files(dir)?.into_iter().filter(|path| !known.contains_key(path)) {
        let file = open(&dir.join(&path))?;
        manifest.insert(path.clone(), sum(&file).context("read", path.display())?);
        file.sync_all().context("sync", path.display())?;
    }
    record::write(&dir.join(FILE), &manifest)?;
    for inner in directories(dir)? {
        record::sync_dir(&inner)?;
    }
    Ok(())
}

/// As [`seal`] for what is only to travel: nothing is synced.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(super) fn write_down(dir: &Path) -> Result<()> {
    replace(dir, &sums_of(dir)?)
}

/// Writes other sums down; nothing is synced.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(super) fn replace(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = dir.join(FILE);
    fs::write(&path, to_bytes(manifest)?).context("write", path.display())
}

/// The sums of all files below `dir`.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(super) fn sums_of(dir: &Path) -> Result<Manifest> {
    let mut sums = Manifest::new();
    for path in files(dir)? {
        let file = open(&dir.join(&path))?;
        sums.insert(path.clone(), sum(&file).context("read", path.display())?);
    }
    Ok(sums)
}

/// The sum of what is not on disk.
pub(super) fn sum_of(bytes: &[u8]) -> Sum {
    Sum { len_bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_hex().to_string() }
}

/// What stands there of the directory `name`.
pub(super) fn below(manifest: &Manifest, name: &str) -> Manifest {
    let inside = manifest.iter().filter(|(path, _)| path.starts_with(name));
    inside.map(|(path, sum)| (path.clone(), sum.clone())).collect()
}

/// One sum of all these.
///
/// # Errors
/// [`Error::Damaged`] never in practice.
pub(super) fn digest(manifest: &Manifest) -> Result<String> {
    Ok(blake3::hash(&to_bytes(manifest)?).to_hex().to_string())
}

/// Compares all files below `dir` with what was written down.
///
/// # Errors
/// [`Error::Damaged`] naming the first file that is missing, too much, too short or changed.
pub(super) fn verify(dir: &Path) -> Result<()> {
    let damaged = |path: &Path, reason: &str| damaged(dir, path, reason);
    let manifest = read(dir)?;
    let present = files(dir)?;
    if let Some(path) = manifest.keys().find(|path| !present.contains(path)) {
        return Err(damaged(path, "it is missing"));
    }
    for path in present {
        let Some(expected) = manifest.get(&path) else {
            return Err(damaged(&path, "it does not belong to the checkpoint"));
        };
        let file = open(&dir.join(&path))?;
        let len_bytes = file.metadata().context("look at", path.display())?.len();
        if len_bytes != expected.len_bytes {
            let reason = format!("it has {len_bytes} bytes instead of {}", expected.len_bytes);
            return Err(damaged(&path, &reason));
        }
        if sum(&file).context("read", path.display())? != *expected {
            return Err(damaged(&path, "its contents were changed"));
        }
    }
    Ok(())
}

/// What was written down.
///
/// # Errors
/// [`Error::Damaged`] if there is nothing, or it cannot be read.
pub(super) fn read(dir: &Path) -> Result<Manifest> {
    record::read(&dir.join(FILE)).map_err(|error| match error {
        Error::Refused { .. } => damaged(dir, Path::new(FILE), "it is missing"),
        other => other,
    })
}

/// As it is written down.
///
/// # Errors
/// [`Error::Damaged`] never in practice.
pub(super) fn to_bytes(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(manifest)
        .map_err(|error| Error::Damaged { object: FILE.into(), reason: error.to_string() })
}

/// Writes down what was changed since, and syncs everything else as [`seal`] does.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(super) fn amend(dir: &Path, changed: &[&Path]) -> Result<()> {
    let mut manifest = read(dir)?;
    for path in changed {
        let file = open(&dir.join(path))?;
        manifest.insert(path.to_path_buf(), sum(&file).context("read", path.display())?);
    }
    for path in manifest.keys() {
        open(&dir.join(path))?.sync_all().context("sync", path.display())?;
    }
    record::write(&dir.join(FILE), &manifest)?;
    directories(dir)?.iter().try_for_each(|inner| record::sync_dir(inner))
}

pub(super) fn damaged(dir: &Path, path: &Path, reason: &str) -> Error {
    Error::Damaged {
        object: format!("checkpoint file {}", dir.join(path).display()),
        reason: reason.into(),
    }
}

/// All files together.
pub(super) fn size_bytes(dir: &Path) -> Result<u64> {
    files(dir)?.iter().try_fold(0, |sum, path| {
        let meta = fs::metadata(dir.join(path)).context("look at", path.display())?;
        Ok(sum + meta.len())
    })
}

/// Regular files below `dir` but the sums themselves, relative to it.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for inner in directories(dir)? {
        for entry in fs::read_dir(&inner).context("read", inner.display())? {
            let path = entry.context("read", inner.display())?.path();
            let meta = fs::symlink_metadata(&path).context("look at", path.display())?;
            if !meta.is_dir() && path != dir.join(FILE) {
                found.push(path.strip_prefix(dir).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `dir` and all directories below it.
fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![dir.to_owned()];
    let mut level = vec![dir.to_owned()];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for inner in level {
            for entry in fs::read_dir(&inner).context("read", inner.display())? {
                let entry = entry.context("read", inner.display())?;
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    next.push(entry.path());
                }
            }
        }
        found.extend(next.iter().cloned());
        level = next;
    }
    Ok(found)
}

/// A link or FIFO in the place of a file is refused.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .context("open", path.display())?;
    let is_file = file.metadata().context("look at", path.display())?.is_file();
    if is_file {
        return Ok(file);
    }
    Err(Error::Damaged { object: path.display().to_string(), reason: "it is not a file".into() })
}

fn sum(file: &File) -> std::io::Result<Sum> {
    let mut summed = Summed::new(file);
    let mut buffer = vec![0; READ_BYTES];
    while summed.read(&mut buffer)? > 0 {}
    Ok(summed.finish())
}

/// A stream whose sum is made as it passes.
pub(super) struct Summed<R> {
    input: R,
    hasher: blake3::Hasher,
    len_bytes: u64,
}

impl<R: Read> Summed<R> {
    pub fn new(input: R) -> Summed<R> {
        Summed { input, hasher: blake3::Hasher::new(), len_bytes: 0 }
    }

    pub fn finish(self) -> Sum {
        Sum { len_bytes: self.len_bytes, blake3: self.hasher.finalize().to_hex().to_string() }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.len_bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("checkpoint")).unwrap();
        fs::write(dir.path().join("checkpoint/pages-1.img"), vec![3; 5000]).unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        seal(dir.path(), &Manifest::new()).unwrap();
        dir
    }

    fn check(spoil: impl Fn(&Path), expect: &str) {
        let dir = sealed();
        verify(dir.path()).unwrap();
        spoil(dir.path());
        let message = verify(dir.path()).unwrap_err().to_string();
        assert!(message.contains(expect), "{message}");
    }

    #[test]
    fn every_damage_is_named() {
        let pages = "checkpoint/pages-1.img";
        check(
            |dir| fs::remove_file(dir.join(pages)).unwrap(),
            "pages-1.img is damaged: it is missing",
        );
        check(
            |dir| fs::write(dir.join(pages), vec![3; 4999]).unwrap(),
            "4999 bytes instead of 5000",
        );
        let mut flipped = vec![3; 5000];
        flipped[2500] = 2;
        check(|dir| fs::write(dir.join(pages), &flipped).unwrap(), "contents were changed");
        check(|dir| fs::write(dir.join("checkpoint/x"), "").unwrap(), "does not belong");
        check(|dir| fs::remove_file(dir.join(FILE)).unwrap(), "is missing");
        check(|dir| fs::write(dir.join(FILE), "{").unwrap(), "damaged");
        check(
            |dir| {
                fs::remove_file(dir.join("config.json")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", dir.join("config.json")).unwrap();
            },
            "cannot open",
        );
    }
}
