//! `COPY` and `ADD`: what is copied where, and doing it.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{FileType, Timespec, Timestamps, futimens};
use stasis_container::inside;
use stasis_dockerfile::{Add, Ignore, Layout, Place, Source, Transfer, Unpacking};
use stasis_enclosure::tar;
use stasis_oci::Digest;

use crate::{
    archive,
    copy::{Target, Wishes, timespec},
    digesting::Digesting,
    error::{Context, Error, Result},
    owner,
    request::Supply,
    select::{self, Destination, DestinationKind, Placement},
    tree::{Entry, Owners, Tree},
    workplace::Workplace,
};

/// A `COPY` or `ADD` whose sources were found.
#[derive(Debug)]
pub(crate) struct Prepared {
    trees: Vec<Tree>,
    parts: Vec<Part>,
    destination: Destination,
    wishes: Wishes,
}

#[derive(Debug)]
enum Part {
    /// Files of the tree with this number.
    Files {
        tree: usize,
        placements: Vec<Placement>,
    },
    /// A file of the tree with this number, whose members are copied.
    Archive {
        tree: usize,
        entry: Entry,
    },
    Text {
        text: Vec<u8>,
        to: PathBuf,
    },
}

/// Which archives among the sources are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Archives {
    Unpacked,
    Copied,
}

/// What sources are looked up in, and what helps with it.
pub(crate) struct Preparation<'a> {
    /// The root file system that is copied to.
    pub root: &'a OwnedFd,
    pub workdir: &'a Path,
    pub place: Place,
    pub workplace: &'a Workplace,
}

impl Preparation<'_> {
    /// Finds the sources of a `COPY` in `tree`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for sources that are not there or do not fit the destination.
    pub fn copy(&self, transfer: &Transfer, tree: Tree) -> Result<Prepared> {
        let mut prepared = self.empty(transfer, tree)?;
        let exclude = self.exclude(transfer)?;
        for source in &transfer.sources {
            match source {
                Source::Inline(heredoc) => prepared.add_text(&heredoc.name, heredoc.content()),
                Source::Path(path) => {
                    prepared.add_files(path, transfer.layout, &exclude, Archives::Copied)?;
                }
            }
        }
        prepared.refuse_collisions()?;
        Ok(prepared)
    }

    /// Finds the sources of an `ADD`; what URLs lead to is fetched.
    ///
    /// # Errors
    /// As [`Preparation::copy`], and what `supply` cannot fetch.
    pub fn add(&self, add: &Add, tree: Tree, supply: &mut dyn Supply) -> Result<Prepared> {
        let transfer = &add.transfer;
        let mut prepared = self.empty(transfer, tree)?;
        let exclude = self.exclude(transfer)?;
        let archives = match add.unpacking {
            Unpacking::None => Archives::Copied,
            Unpacking::LocalArchives | Unpacking::All => Archives::Unpacked,
        };
        for source in &transfer.sources {
            match source {
                Source::Inline(heredoc) => prepared.add_text(&heredoc.name, heredoc.content()),
                Source::Path(url) if is_repository(url) => {
                    return Err(Error::invalid(format!(
                        "{url}: git repositories are not supported"
                    ))
                    .hint("clone it into the context, or in a RUN"));
                }
                Source::Path(url) if is_url(url) => {
                    let file = self.download(url, add.checksum.as_deref(), supply)?;
                    prepared.add_download(file, add.unpacking)?;
                }
                Source::Path(_) if add.checksum.is_some() => {
                    return Err(Error::invalid("--checksum is for URLs only"));
                }
                Source::Path(path) => {
                    prepared.add_files(path, transfer.layout, &exclude, archives)?;
                }
            }
        }
        prepared.refuse_collisions()?;
        Ok(prepared)
    }

    fn empty(&self, transfer: &Transfer, tree: Tree) -> Result<Prepared> {
        let owner = transfer.owner.as_deref().map(|text| owner::look_up(self.root, text));
        let mode = transfer.mode.as_deref().map(owner::mode);
        Ok(Prepared {
            trees: vec![tree],
            parts: Vec::new(),
            destination: self.destination(&transfer.destination),
            wishes: Wishes { owner: owner.transpose()?, mode: mode.transpose()? },
        })
    }

    fn destination(&self, text: &str) -> Destination {
        let path = select::cleaned(&self.workdir.join(text).to_string_lossy());
        let says_directory =
            text.ends_with('/') || matches!(text, "." | "..") || text.ends_with("/.");
        let is_there = || {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
            inside::open(self.root, &path, flags).is_ok()
        };
        let kind = match says_directory || is_there() {
            true => DestinationKind::Directory,
            false => DestinationKind::File,
        };
        Destination { path, kind }
    }

    fn exclude(&self, transfer: &Transfer) -> Result<Ignore> {
        Ignore::from_patterns(&transfer.exclude, self.place)
            .map_err(|error| Error::invalid(error.what))
    }

    /// Fetches a file into a directory of its own, under the name that the URL ends with.
    fn download(
        &self,
        url: &str,
        checksum: Option<&str>,
        supply: &mut dyn Supply,
    ) -> Result<PathBuf> {
        let name = url_file_name(url).ok_or_else(|| {
            Error::invalid(format!("cannot tell the name of the file that {url} leads to"))
        })?;
        let path = self.workplace.make_dir("download")?.join(name);
        let mut file = File::create_new(&path).context("make", path.display())?;
        let changed = supply.download(url, &mut file).map_err(Error::Outside)?;
        file.flush().context("write", path.display())?;
        rustix::fs::fchmod(&file, 0o600.into()).context("set the mode of", path.display())?;
        // A server that does not tell the time must not make each build differ.
        let time: Timespec = timespec(changed.unwrap_or(Timestamp::UNIX_EPOCH));
        futimens(&file, &Timestamps { last_access: time, last_modification: time })
            .context("set the time of", path.display())?;
        if let Some(expected) = checksum {
            verify(&path, expected)?;
        }
        Ok(path)
    }
}

fn verify(path: &Path, expected: &str) -> Result<()> {
    let expected: Digest = expected.parse()?;
    let mut hasher = stasis_oci::Hasher::default();
    let mut file = File::open(path).context("open", path.display())?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer).context("read", path.display())?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    let found = hasher.finish();
    match found == expected {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "the downloaded file has the digest {found}, --checksum says {expected}"
        ))),
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_repository(text: &str) -> bool {
    let path = text.split(['#', '?']).next().unwrap_or(text);
    text.starts_with("git@")
        || text.starts_with("git://")
        || text.starts_with("ssh://")
        || (is_url(text) && path.ends_with(".git"))
}

fn url_file_name(url: &str) -> Option<&str> {
    let path = url.split(['#', '?']).next()?.split_once("://")?.1;
    let name = path.split_once('/')?.1.rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then_some(name)
}

impl Prepared {
    /// Adds all that makes this copy differ from another one.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system, and for sockets [`Error::Invalid`].
    pub fn digest(&self, digesting: &mut Digesting) -> Result<()> {
        digesting.add(self.destination.path.as_os_str().as_encoded_bytes());
        digesting.add(format!("{:?} {:?}", self.destination.kind, self.wishes).as_bytes());
        for part in &self.parts {
            match part {
                Part::Text { text, to } => {
                    digesting.add(b"text");
                    digesting.add(to.as_os_str().as_encoded_bytes());
                    digesting.add(text);
                }
                Part::Archive { tree, entry } => {
                    digesting.add(b"archive");
                    self.trees[*tree].digest(entry, digesting)?;
                }
                Part::Files { tree, placements } => {
                    digesting.add(b"files");
                    for placement in placements {
                        digesting.add(placement.to.as_os_str().as_encoded_bytes());
                        self.trees[*tree].digest(&placement.entry, digesting)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies everything to `root`.
    ///
    /// # Errors
    /// The first thing that cannot be copied.
    pub fn perform(
        &self,
        root: OwnedFd,
        time_of_new: Timestamp,
        workplace: &Workplace,
    ) -> Result<()> {
        let mut target = Target::new(root, self.wishes, time_of_new);
        if self.destination.kind == DestinationKind::Directory || self.has_directory() {
            target.make_dirs(&self.destination.path)?;
        }
        for part in &self.parts {
            match part {
                Part::Text { text, to } => target.put_text(text, to)?,
                Part::Files { tree, placements } => {
                    for placement in placements {
                        target.put(&self.trees[*tree], &placement.entry, &placement.to)?;
                    }
                }
                Part::Archive { tree, entry } => {
                    self.unpack(&self.trees[*tree], entry, &mut target, workplace)?;
                }
            }
        }
        target.finish()
    }

    /// A directory as the source makes one of the destination, also if it is empty.
    fn has_directory(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Files { placements, .. } => {
                placements.iter().all(|placement| placement.to != self.destination.path)
            }
            Part::Archive { .. } => true,
            Part::Text { .. } => false,
        })
    }

    fn add_text(&mut self, name: &str, text: String) {
        let to = match self.destination.kind {
            DestinationKind::Directory => self.destination.path.join(name),
            DestinationKind::File => self.destination.path.clone(),
        };
        self.parts.push(Part::Text { text: text.into_bytes(), to });
    }

    fn add_files(
        &mut self,
        pattern: &str,
        layout: Layout,
        exclude: &Ignore,
        archives: Archives,
    ) -> Result<()> {
        let tree = &self.trees[0];
        let mut files = Vec::new();
        for entry in select::sources(tree, pattern)? {
            match archives == Archives::Unpacked && is_archive(tree, &entry)? {
                true => self.parts.push(Part::Archive { tree: 0, entry }),
                false => files.push((pattern.to_owned(), entry)),
            }
        }
        let placements =
            select::placements(&self.trees[0], files, &self.destination, layout, exclude)?;
        self.parts.push(Part::Files { tree: 0, placements });
        Ok(())
    }

    fn add_download(&mut self, path: PathBuf, unpacking: Unpacking) -> Result<()> {
        let (dir, name) = (path.parent().unwrap_or(&path), path.file_name().unwrap_or_default());
        let tree = Tree::new(inside::open_root(dir)?, Ignore::default(), Owners::Root);
        let entry =
            tree.look(Path::new(name))?.ok_or_else(|| Error::invalid("nothing was fetched"))?;
        let number = self.trees.len();
        let part = match unpacking == Unpacking::All && is_archive(&tree, &entry)? {
            true => Part::Archive { tree: number, entry },
            false => {
                let to = match self.destination.kind {
                    DestinationKind::Directory => self.destination.path.join(name),
                    DestinationKind::File => self.destination.path.clone(),
                };
                Part::Files { tree: number, placements: vec![Placement { entry, to }] }
            }
        };
        self.trees.push(tree);
        self.parts.push(part);
        Ok(())
    }

    /// Several sources that would become one and the same file.
    fn refuse_collisions(&self) -> Result<()> {
        let becomes_destination = |part: &&Part| match part {
            Part::Text { to, .. } => *to == self.destination.path,
            Part::Files { placements, .. } => {
                placements.iter().any(|placement| placement.to == self.destination.path)
            }
            Part::Archive { .. } => false,
        };
        let nr_files = self.parts.iter().filter(becomes_destination).count();
        if nr_files < 2 || self.destination.kind == DestinationKind::Directory {
            return Ok(());
        }
        let path = self.destination.path.display();
        Err(Error::invalid(format!("several files cannot become the one file /{path}"))
            .hint("end the destination with a slash"))
    }

    /// Members keep their owners and modes, unless something else was asked for.
    fn unpack(
        &self,
        tree: &Tree,
        entry: &Entry,
        target: &mut Target,
        workplace: &Workplace,
    ) -> Result<()> {
        let opened = archive::open(tree.open(&entry.path)?);
        let opened = opened.context("read", entry.path.display())?;
        let mut members =
            opened.ok_or_else(|| Error::invalid("the archive has changed meanwhile"))?;
        if self.wishes == Wishes::default() {
            let dir = target.open_to_change(&self.destination.path)?;
            tar::unpack_over(&mut members, &own_path(&dir))?;
            return Ok(());
        }
        let dir = workplace.make_dir("archive")?;
        tar::unpack_over(&mut members, &dir)?;
        let members = Tree::new(inside::open_root(&dir)?, Ignore::default(), Owners::Kept);
        for member in members.below(Path::new(""))? {
            target.put(&members, &member, &self.destination.path.join(&member.path))?;
        }
        fs::remove_dir_all(&dir).context("remove", dir.display())
    }
}

/// A path to a directory that is open, whether or not it has one in the file system.
fn own_path(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

fn is_archive(tree: &Tree, entry: &Entry) -> Result<bool> {
    if entry.kind() != FileType::RegularFile {
        return Ok(false);
    }
    let opened = archive::open(tree.open(&entry.path)?);
    Ok(opened.context("read", entry.path.display())?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(url_file_name("https://x.example/a/b.txt?v=1"), Some("b.txt"));
        for url in ["https://x.example", "https://x.example/", "https://x.example/a/.."] {
            assert_eq!(url_file_name(url), None, "{url}");
        }
        assert!(
            is_repository("git@x.example:a/b") && is_repository("https://x.example/a.git#main")
        );
        assert!(!is_repository("https://x.example/a.tar"));
    }
}
