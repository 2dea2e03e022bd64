//! Where Dockerfile and context come from: a directory, or standard input.

use std::{
    fs::{self, File},
    io::{Cursor, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use jiff::Timestamp;
use stasis_build::Unpacked;
use stasis_container::Home;
use stasis_dockerfile::{Ignore, MAX_BYTES};

use crate::{
    args::BuildArgs,
    failure::{Failure, Result},
};

const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];
const STANDARD_INPUT: &str = "-";
/// Enough to tell an archive, and how it is compressed.
const MAGIC_BYTES: u64 = 512;

pub struct Origin {
    pub dockerfile_name: String,
    pub dockerfile: Vec<u8>,
    pub changed: Timestamp,
    pub ignore: Ignore,
    dir: Dir,
}

enum Dir {
    Own(PathBuf),
    Unpacked(Unpacked),
}

/// A Dockerfile, and what was beside it.
struct Found {
    name: String,
    bytes: Vec<u8>,
    changed: Timestamp,
    /// Where it lies, if it is a file.
    path: Option<PathBuf>,
}

impl Origin {
    /// # Errors
    /// A context or Dockerfile that is not there, or that we cannot fetch.
    pub fn find(args: &BuildArgs, home: &Home) -> Result<Origin> {
        let (dir, found) = match args.context.as_str() {
            STANDARD_INPUT => from_input(args, home)?,
            url if is_url(url) => {
                return Err(Failure::new(format!("cannot build {url}: contexts are directories"))
                    .hint("fetch it, and give its directory or pipe an archive of it to build -"));
            }
            path => {
                let dir = PathBuf::from(path);
                let found = of_directory(&dir, args.file.as_deref())?;
                (Dir::Own(dir), found)
            }
        };
        let ignore = ignore(dir.path(), found.path.as_deref())?;
        let Found { name, bytes, changed, .. } = found;
        Ok(Origin { dockerfile_name: name, dockerfile: bytes, changed, ignore, dir })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Dir::Own(path) => path,
            Dir::Unpacked(unpacked) => unpacked.dir(),
        }
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"].iter().any(|head| text.starts_with(head))
}

fn of_directory(dir: &Path, file: Option<&str>) -> Result<Found> {
    if !dir.is_dir() {
        return Err(Failure::new(format!("the context {} is not a directory", dir.display())));
    }
    let path = match file {
        Some(STANDARD_INPUT) => return read_input(),
        // As it is typed, or else in the context.
        Some(file) if Path::new(file).is_file() => PathBuf::from(file),
        Some(file) => dir.join(file),
        None => {
            let found = NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file());
            found.unwrap_or_else(|| dir.join(NAMES[0]))
        }
    };
    read(path)
}

fn read_input() -> Result<Found> {
    let bytes = bounded(std::io::stdin().lock(), "standard input")?;
    Ok(Found { name: "Dockerfile".into(), bytes, changed: Timestamp::UNIX_EPOCH, path: None })
}

fn read(path: PathBuf) -> Result<Found> {
    let wrong = |error: std::io::Error| {
        let name = path.display();
        Failure {
            cause: Some(error.to_string()),
            ..Failure::new(format!("cannot read the Dockerfile {name}"))
        }
        .hint("write one, or name it: -f FILE")
    };
    let file = File::open(&path).map_err(wrong)?;
    let changed = file.metadata().and_then(|meta| meta.modified()).map_err(wrong)?;
    let bytes = bounded(file, &path.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Found { name, bytes, changed: timestamp(changed), path: Some(path) })
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn bounded(input: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(Failure::new(format!("{name} is too large for a Dockerfile")));
    }
    Ok(bytes)
}

/// An archive is the context; anything else is a Dockerfile without one.
fn from_input(args: &BuildArgs, home: &Home) -> Result<(Dir, Found)> {
    if args.file.as_deref() == Some(STANDARD_INPUT) {
        return Err(Failure::new("context and Dockerfile cannot both come from standard input"));
    }
    let mut magic = Vec::new();
    let mut input = std::io::stdin();
    input.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic)?;
    let whole = |magic: &[u8]| Cursor::new(magic.to_vec()).chain(std::io::stdin());
    if looks_like_text(&magic) {
        let bytes = bounded(whole(&magic), "standard input")?;
        let changed = Timestamp::UNIX_EPOCH;
        let found = Found { name: "Dockerfile".into(), bytes, changed, path: None };
        return Ok((Dir::Unpacked(Unpacked::nothing(home)?), found));
    }
    let unpacked = Unpacked::of(whole(&magic), &magic, home)?.ok_or_else(|| {
        Failure::new("standard input is neither a Dockerfile nor an archive")
            .hint("pipe a Dockerfile, or a tar with or without compression, to build -")
    })?;
    let found = of_directory(unpacked.dir(), args.file.as_deref())?;
    Ok((Dir::Unpacked(unpacked), found))
}

/// No archive begins with a block without a zero byte and without a compressor's mark.
fn looks_like_text(magic: &[u8]) -> bool {
    std::str::from_utf8(magic).map_or_else(|error| error.error_len().is_none(), |_| true)
        && !magic.contains(&0)
        && !magic.starts_with(b"BZh")
}

/// The one beside the Dockerfile goes before that of the context.
fn ignore(dir: &Path, dockerfile: Option<&Path>) -> Result<Ignore> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let of_context = dir.join(".dockerignore");
    let Some(path) = beside.into_iter().chain([of_context]).find(|path| path.is_file()) else {
        return Ok(Ignore::default());
    };
    let text = fs::read_to_string(&path).map_err(|error| Failure {
        cause: Some(error.to_string()),
        ..Failure::new(format!("cannot read {}", path.display()))
    })?;
    Ignore::parse(&text).map_err(|error| Failure {
        hint: error.hint.clone(),
        ..Failure::new(format!("{}:{}: {}", path.display(), error.place, error.what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_archives() {
        assert!(looks_like_text(b"FROM scratch\n"));
        assert!(looks_like_text("FROM x # \u{e4}".as_bytes()));
        assert!(!looks_like_text(b"\x1f\x8b\x08"));
        assert!(!looks_like_text(b"BZh91AY"));
        assert!(!looks_like_text(&[b'a'; 100].map(|_| 0)));
    }
}
