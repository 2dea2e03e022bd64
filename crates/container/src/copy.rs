//! `cp`: files from a container to the host, and back; `export`.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, OFlags, readlinkat, statat},
    io::Errno,
};
use stasis_enclosure::tar::{self, Form};

use crate::{
    error::{Context, Error, Result},
    inside, rootfs,
    store::Container,
    transfer,
};

pub use stasis_enclosure::tar::Owners;

/// So many links in a row lead nowhere (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What is copied if the source is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Follow,
    Keep,
}

impl Container {
    /// Copies from the container to the host, by the rules of `cp -a`: into a directory that is there,
    /// else under the new name. A source that ends in `/.` stands for what is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if source and target do not fit together.
    pub fn copy_out(&self, from: &Path, to: &Path, links: Links, owners: Owners) -> Result<()> {
        let root = self.inner_root()?;
        copy((root.dir(), from), (host()?.as_fd(), &absolute(to)?), links, owners)
    }

    /// Copies from the host to the container, by the same rules.
    ///
    /// # Errors
    /// As [`Container::copy_out`].
    pub fn copy_in(&self, from: &Path, to: &Path, links: Links, owners: Owners) -> Result<()> {
        let root = self.inner_root()?;
        copy((host()?.as_fd(), &absolute(from)?), (root.dir(), to), links, owners)
    }

    /// Writes something in the container as a tar to `out`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not there.
    pub fn archive(&self, from: &Path, links: Links, out: &mut dyn Write) -> Result<()> {
        let root = self.inner_root()?;
        let source = Source::find(root.dir(), from, links)?;
        let called = source.called.clone();
        source.pack(called.as_deref(), out)
    }

    /// Unpacks a tar in a directory of the container.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such directory, [`Error::Enclosure`] for members that cannot
    /// be.
    pub fn unpack(&self, to: &Path, owners: Owners, input: &mut dyn Read) -> Result<()> {
        let root = self.inner_root()?;
        let dir = inside::open(root.dir(), to, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|_| Error::invalid(format!("{} is not a directory", to.display())))?;
        tar::unpack_among(input, &inside::path_of(&dir), owners)?;
        Ok(())
    }

    /// Writes the whole root file system as a tar to `out`, without what is mounted in it.
    ///
    /// # Errors
    /// [`Error::Enclosure`] naming the file that could not be read.
    pub fn export(&self, out: &mut dyn Write) -> Result<()> {
        let lock = self.command_lock()?;
        let root = rootfs::open(self)?;
        // Reading may take long; only one that does not run must not be started meanwhile.
        let _lock = if self.state()?.status.is_up() { None } else { Some(lock) };
        Ok(tar::pack(&inside::path_of(&root), Form::Plain, out)?)
    }
}

fn host() -> Result<OwnedFd> {
    inside::open_root(Path::new("/"))
}

/// Keeps what the end of the path tells.
fn absolute(path: &Path) -> Result<PathBuf> {
    let mut absolute =
        std::env::current_dir().context("find", "our own directory")?.into_os_string();
    absolute.push("/");
    absolute.push(path);
    Ok(if path.is_absolute() { path.to_owned() } else { absolute.into() })
}

/// An end of a copy: a root and a path below it.
type End<'a> = (BorrowedFd<'a>, &'a Path);

fn copy(from: End<'_>, to: End<'_>, links: Links, owners: Owners) -> Result<()> {
    let source = Source::find(from.0, from.1, links)?;
    let target = Target::find(to.0, to.1, &source)?;
    let called = target.called.as_deref();
    transfer::through(
        |out| source.pack(called, out),
        |input| Ok(tar::unpack_among(input, &inside::path_of(&target.dir), owners)?),
    )?;
    Ok(())
}

/// How a path ends, which tells what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// `a`
    Plain,
    /// `a/`: a directory.
    Slash,
    /// `a/.`: what is in a directory.
    Contents,
}

impl Ending {
    fn of(path: &Path) -> Ending {
        match path.as_os_str().as_bytes() {
            b"." | b"/" => Ending::Contents,
            bytes if bytes.ends_with(b"/.") => Ending::Contents,
            bytes if bytes.ends_with(b"/") => Ending::Slash,
            _ => Ending::Plain,
        }
    }
}

/// What is copied.
struct Source {
    what: Found,
    ending: Ending,
    /// Its own name; none if what is in it is copied.
    called: Option<OsString>,
    path: PathBuf,
}

enum Found {
    Directory(OwnedFd),
    File { parent: OwnedFd, name: OsString },
}

impl Source {
    fn find(root: BorrowedFd<'_>, path: &Path, links: Links) -> Result<Source> {
        let ending = Ending::of(path);
        let follows = links == Links::Follow || ending != Ending::Plain;
        let located = if follows { locate(root, path)? } else { locate_once(root, path)? };
        let missing = || Error::invalid(format!("there is no {}", path.display()));
        let what = match located.kind.ok_or_else(missing)? {
            FileType::Directory => Found::Directory(located.open_directory()?),
            _ if ending != Ending::Plain => {
                return Err(Error::invalid(format!("{} is not a directory", path.display())));
            }
            _ => Found::File { parent: located.parent, name: located.name },
        };
        let called = match ending {
            Ending::Contents => None,
            Ending::Plain | Ending::Slash => path.file_name().map(OsStr::to_owned),
        };
        Ok(Source { what, ending, called, path: path.to_owned() })
    }

    fn is_directory(&self) -> bool {
        matches!(self.what, Found::Directory(_))
    }

    /// Without a name only what is in it is written.
    fn pack(&self, called: Option<&OsStr>, out: &mut dyn Write) -> Result<()> {
        let packed = match (&self.what, called) {
            (Found::Directory(dir), None) => tar::pack(&inside::path_of(dir), Form::Plain, out),
            (Found::Directory(dir), Some(called)) => {
                tar::pack_one(dir, OsStr::new("."), Path::new(called), out)
            }
            (Found::File { parent, name }, called) => {
                tar::pack_one(parent, name, Path::new(called.unwrap_or(name)), out)
            }
        };
        Ok(packed?)
    }
}

/// Where it goes.
struct Target {
    dir: OwnedFd,
    /// None if the contents of the source go there.
    called: Option<OsString>,
}

impl Target {
    fn find(root: BorrowedFd<'_>, path: &Path, source: &Source) -> Result<Target> {
        let ending = Ending::of(path);
        let located = locate(root, path)?;
        let wrong = |what: &str| Err(Error::invalid(format!("{} {what}", path.display())));
        match located.kind {
            Some(FileType::Directory) => {
                let called = match source.ending {
                    Ending::Contents => None,
                    Ending::Plain | Ending::Slash => source.called.clone(),
                };
                Ok(Target { dir: located.open_directory()?, called })
            }
            Some(_) if source.is_directory() => wrong(&format!(
                "is not a directory: the directory {} cannot be copied there",
                source.path.display()
            )),
            Some(_) if ending != Ending::Plain => wrong("is not a directory"),
            None if ending != Ending::Plain && !source.is_directory() => {
                wrong("is not there: a file cannot be copied into it")
            }
            Some(_) | None => Ok(Target { dir: located.parent, called: Some(located.name) }),
        }
    }
}

/// A directory and a name in it, which may not be there.
struct Located {
    parent: OwnedFd,
    name: OsString,
    kind: Option<FileType>,
}

impl Located {
    fn open_directory(&self) -> Result<OwnedFd> {
        inside::open(&self.parent, Path::new(&self.name), OFlags::RDONLY | OFlags::DIRECTORY)
            .context("open", self.name.display())
    }
}

/// Finds what a path stands for, with the links at its end.
fn locate(root: BorrowedFd<'_>, path: &Path) -> Result<Located> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let located = locate_once(root, &path)?;
        if located.kind != Some(FileType::Symlink) {
            return Ok(located);
        }
        let link = readlinkat(&located.parent, &located.name, Vec::new())
            .context("read", path.display())?;
        // Joined as text: where `..` leads is decided when the whole is looked up.
        let above = path.parent().unwrap_or(Path::new("/"));
        path = above.join(OsStr::from_bytes(link.as_bytes()));
    }
    Err(Errno::LOOP).context("find", path.display())
}

fn locate_once(root: BorrowedFd<'_>, path: &Path) -> Result<Located> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let Some(name) = path.file_name().filter(|_| path != Path::new("/")) else {
        // The root, or what ends in `..`: a directory in any case.
        let parent = inside::open(root, path, flags).context("open", path.display())?;
        return Ok(Located { parent, name: ".".into(), kind: Some(FileType::Directory) });
    };
    let above = path.parent().unwrap_or(Path::new("/"));
    let parent = inside::open(root, above, flags).context("open", above.display())?;
    let kind = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error).context("look at", path.display()),
    };
    Ok(Located { parent, name: name.to_owned(), kind })
}
