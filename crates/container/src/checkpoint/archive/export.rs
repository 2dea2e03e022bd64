//! From a checkpoint on disk to an archive, as a stream.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use stasis_enclosure::tar;

use super::{CONFIG_DUMP, LOG, NETWORK_STATUS, STATS_DUMP, log, podman};
use crate::{
    checkpoint::{
        Checkpoints, Lies, Stored,
        layout::{DEVSHM, IMAGES, SPEC_DUMP},
        manifest::{self, Manifest, Summed},
    },
    error::{Context, Error, Result},
};

const WRITE_BYTES: usize = 1 << 20;
/// Podman makes this directory, and some readers miss it.
const ARTIFACTS: &str = "artifacts";
/// How CRIU finds memory that was written before.
pub(super) const PARENT_LINK: &str = "checkpoint/parent";

/// How an archive is compressed: `none`, `gzip` or `zstd`, with a level behind a colon if wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip { level: u32 },
    Zstd { level: i32 },
}

impl Default for Compression {
    fn default() -> Compression {
        Compression::Zstd { level: 3 }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Compression> {
        let (kind, level) = match text.split_once(':') {
            Some((kind, level)) => (kind, Some(level)),
            None => (text, None),
        };
        let in_range = |default: i32, range: std::ops::RangeInclusive<i32>| match level {
            None => Ok(default),
            Some(level) => {
                level.parse().ok().filter(|level| range.contains(level)).ok_or_else(|| {
                    let (first, last) = (range.start(), range.end());
                    Error::invalid(format!(
                        "{kind} has the levels {first} to {last}, not {level:?}"
                    ))
                })
            }
        };
        match kind {
            "none" if level.is_none() => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip { level: in_range(6, 1..=9)?.unsigned_abs() }),
            "zstd" => Ok(Compression::Zstd { level: in_range(3, 1..=19)? }),
            _ => Err(Error::invalid(format!(
                "{text:?} is no compression: use zstd, gzip or none, and a level as in zstd:9"
            ))),
        }
    }
}

impl Checkpoints {
    /// Writes a checkpoint as an archive, in constant memory.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a file of the checkpoint is not as it was written; then the archive is
    /// not whole either.
    pub fn export(
        &self,
        stored: &Stored,
        compression: Compression,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let _held = stored.hold()?;
        compressed(compression, out, |out| self.write_archive(stored, out))
    }

    /// The same into a file, which has its name only when it is whole and on disk.
    ///
    /// # Errors
    /// As [`Checkpoints::export`]; [`Error::Refused`] by the file system.
    pub fn export_to(
        &self,
        stored: &Stored,
        compression: Compression,
        target: &Path,
    ) -> Result<()> {
        let parent = target.parent().filter(|dir| !dir.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        // It holds all memory of the processes: nobody else may read it.
        let mut file = tempfile::Builder::new()
            .prefix(".stasis-")
            .tempfile_in(parent)
            .context("make a file in", parent.display())?;
        self.export(stored, compression, file.as_file_mut())?;
        file.as_file().sync_all().context("sync", target.display())?;
        file.persist(target).map_err(|error| error.error).context("write", target.display())?;
        crate::record::sync_dir(parent)
    }

    /// Uncompressed.
    pub(in crate::checkpoint) fn write_archive(
        &self,
        stored: &Stored,
        out: &mut dyn Write,
    ) -> Result<()> {
        let Stored { checkpoint, dir: path, .. } = stored;
        let known = manifest::read(path)?;
        let time = u64::try_from(checkpoint.created.as_second()).unwrap_or(0);
        let mut archive = Archive::new(out, time);
        let is_whole = path.join(IMAGES).is_dir();
        archive.directory(Path::new(ARTIFACTS))?;
        archive.stored(path, Path::new(DEVSHM), &known)?;
        archive.text(CONFIG_DUMP, &podman::config_dump(checkpoint)?)?;
        archive.stored(path, Path::new(SPEC_DUMP), &known)?;
        archive.text(NETWORK_STATUS, &podman::network_status(checkpoint)?)?;
        archive.statistics(path)?;
        archive.stored(path, Path::new(LOG), &known)?;
        if is_whole {
            let log = self.home.place(&checkpoint.container.id).log();
            archive.log(&log, checkpoint.log_bytes)?;
        }
        let elsewhere = |name: &Path| {
            let mut left_out =
                checkpoint.rounds.iter().filter(|round| round.lies == Lies::InAnArchiveOfItsOwn);
            is_whole && left_out.any(|round| name.starts_with(&round.name))
        };
        for name in known.keys().filter(|name| !elsewhere(name)) {
            archive.stored(path, name, &known)?;
        }
        if let Some(round) = checkpoint.rounds.first().filter(|_| is_whole) {
            archive.files.link(PARENT_LINK, &format!("../{}", round.name))?;
        }
        archive.finish()
    }
}

/// Writes the files in `path`, of which it has the checksums, and nothing else.
pub(in crate::checkpoint) fn write_files(
    path: &Path,
    compression: Compression,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let known = manifest::read(path)?;
    compressed(compression, out, |out| {
        let mut archive = Archive::new(out, 0);
        known.keys().try_for_each(|name| archive.stored(path, name, &known))?;
        archive.finish()
    })
}

fn compressed(
    compression: Compression,
    out: &mut (dyn Write + Send),
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, out);
    match compression {
        Compression::None => write(&mut out)?,
        Compression::Gzip { level } => {
            let level = flate2::Compression::new(level);
            let mut encoder = flate2::write::GzEncoder::new(&mut out, level);
            write(&mut encoder)?;
            encoder.finish().context("compress", "the archive")?;
        }
        Compression::Zstd { level } => {
            let mut encoder = zstd_encoder(&mut out, level).context("compress", "the archive")?;
            write(&mut encoder)?;
            encoder.finish().context("compress", "the archive")?;
        }
    }
    out.flush().context("write", "the archive")
}

fn zstd_encoder<W: Write>(
    out: W,
    level: i32,
) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    encoder.multithread(u32::try_from(processors).unwrap_or(1))?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// An archive in the making.
struct Archive<'a> {
    files: tar::Writer<&'a mut dyn Write>,
    /// Of what it has so far.
    sums: Manifest,
    directories: BTreeSet<PathBuf>,
}

impl<'a> Archive<'a> {
    fn new(out: &'a mut dyn Write, time: u64) -> Archive<'a> {
        Archive {
            files: tar::Writer::private(out, time),
            sums: Manifest::new(),
            directories: BTreeSet::new(),
        }
    }

    /// The sums come last.
    fn finish(mut self) -> Result<()> {
        let sums = manifest::to_bytes(&self.sums)?;
        self.files.file(manifest::FILE, sums.len() as u64, &mut sums.as_slice())?;
        self.files.finish()?;
        Ok(())
    }

    fn directory(&mut self, name: &Path) -> Result<()> {
        if self.directories.insert(name.to_owned()) {
            self.files.directory(text(name)?)?;
        }
        Ok(())
    }

    fn file(&mut self, name: &Path, len_bytes: u64, content: &mut dyn Read) -> Result<()> {
        if let Some(dir) = name.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            self.directory(dir)?;
        }
        let mut summed = Summed::new(content);
        self.files.file(text(name)?, len_bytes, &mut summed)?;
        self.sums.insert(name.to_owned(), summed.finish());
        Ok(())
    }

    fn text(&mut self, name: &str, text: &[u8]) -> Result<()> {
        self.file(Path::new(name), text.len() as u64, &mut &text[..])
    }

    /// Adds a file of the checkpoint if it has it and it is not there yet.
    fn stored(&mut self, dir: &Path, name: &Path, known: &Manifest) -> Result<()> {
        let Some(expected) = known.get(name) else { return Ok(()) };
        if self.sums.contains_key(name) {
            return Ok(());
        }
        let mut file = manifest::open(&dir.join(name))?;
        self.file(name, expected.len_bytes, &mut file)?;
        if self.sums.get(name) == Some(expected) {
            return Ok(());
        }
        Err(manifest::damaged(dir, name, "its contents were changed"))
    }

    /// The log of a container that is still here, unless the checkpoint has one of its own.
    fn log(&mut self, path: &Path, len_bytes: Option<u64>) -> Result<()> {
        if self.sums.contains_key(Path::new(LOG)) {
            return Ok(());
        }
        let Some(mut log) = log::to_podman(path, len_bytes)? else { return Ok(()) };
        let len_bytes = log.seek(io::SeekFrom::End(0)).context("read", "the log")?;
        log.rewind().context("read", "the log")?;
        self.file(Path::new(LOG), len_bytes, &mut log)
    }

    /// CRIU keeps its statistics beside the images.
    fn statistics(&mut self, dir: &Path) -> Result<()> {
        let path = dir.join(IMAGES).join(STATS_DUMP);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => {
                let mut file = other.context("open", path.display())?;
                let len_bytes = file.metadata().context("look at", path.display())?.len();
                self.file(Path::new(STATS_DUMP), len_bytes, &mut file)
            }
        }
    }
}

/// Names of members are text; those that we make are.
fn text(name: &Path) -> Result<&str> {
    name.to_str().ok_or_else(|| Error::invalid(format!("{} is no text", name.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_have_levels() {
        let parse = |text: &str| text.parse::<Compression>();
        assert_eq!(parse("zstd").unwrap(), Compression::Zstd { level: 3 });
        assert_eq!(parse("zstd:19").unwrap(), Compression::Zstd { level: 19 });
        assert_eq!(parse("gzip:1").unwrap(), Compression::Gzip { level: 1 });
        assert_eq!(parse("none").unwrap(), Compression::None);
        for wrong in ["", "xz", "gzip:0", "gzip:10", "zstd:x", "none:1", "zstd:20"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
