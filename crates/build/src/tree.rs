//! Trees that files are copied from: the context, a stage, an image, an unpacked archive.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Dir, FileType, OFlags, Stat, fstat, readlinkat},
    io::Errno,
};
use stasis_container::inside;
use stasis_dockerfile::{Ignore, Verdict};

use crate::{
    digesting::Digesting,
    error::{Context, Error, Result},
};

/// What can be copied from. No link in it leads out of it.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    ignore: Ignore,
    pub owners: Owners,
}

/// To whom the copies belong, if nothing else is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// To those of the originals.
    Kept,
    /// To root: who owns the files of a context is a matter of the host.
    Root,
}

/// A file of a tree.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub path: PathBuf,
    pub stat: Stat,
}

impl Entry {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }
}

impl Tree {
    pub fn new(root: OwnedFd, ignore: Ignore, owners: Owners) -> Tree {
        Tree { root, ignore, owners }
    }

    /// What stands at `path`, or at the end of the links there; nothing if it does not take part.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn look(&self, path: &Path) -> Result<Option<Entry>> {
        let is_ignored = self.ignore.verdict(path) == Verdict::Ignored;
        let file = match inside::open(&self.root, path, OFlags::PATH) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error).context("open", path.display()),
        };
        let stat = fstat(&file).context("look at", path.display())?;
        let entry = Entry { path: path.to_owned(), stat };
        let may_hold_kept = entry.is_dir() && self.ignore.has_exceptions();
        Ok((!is_ignored || may_hold_kept).then_some(entry))
    }

    /// All that is in the directory at `path` and takes part, a directory before what is in it, in the
    /// order of names.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn below(&self, path: &Path) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut open = vec![path.to_owned()];
        while let Some(dir) = open.pop() {
            for name in self.names(&dir)? {
                let entry = self.entry(dir.join(name))?;
                let is_kept = self.ignore.verdict(&entry.path) == Verdict::Kept;
                let may_hold_kept = entry.is_dir() && self.ignore.has_exceptions();
                if !is_kept && !may_hold_kept {
                    continue;
                }
                if entry.is_dir() {
                    open.push(entry.path.clone());
                }
                found.push((entry, is_kept));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        Ok(with_parents_of_kept(found))
    }

    fn names(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = inside::open(&self.root, dir, flags).context("open", dir.display())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&open).context("read", dir.display())? {
            let entry = entry.context("read", dir.display())?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(PathBuf::from(OsStr::from_bytes(name)));
            }
        }
        Ok(names)
    }

    /// A file itself, not what a link leads to.
    fn entry(&self, path: PathBuf) -> Result<Entry> {
        let file = inside::open(&self.root, &path, OFlags::PATH | OFlags::NOFOLLOW);
        let stat = fstat(file.context("open", path.display())?);
        let stat = stat.context("look at", path.display())?;
        Ok(Entry { path, stat })
    }

    /// Opens a regular file or a directory.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn open(&self, path: &Path) -> Result<File> {
        // A FIFO that has taken its place meanwhile must not keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = inside::open(&self.root, path, flags).context("open", path.display())?;
        Ok(File::from(file))
    }

    /// Where a symbolic link leads to.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn link_target(&self, path: &Path) -> Result<PathBuf> {
        let link = inside::open(&self.root, path, OFlags::PATH | OFlags::NOFOLLOW);
        let link = link.context("open", path.display())?;
        let target = readlinkat(link.as_fd(), "", Vec::new()).context("read", path.display())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    /// Adds what makes a copy of the file differ from a copy of another one: not its times.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn digest(&self, entry: &Entry, digesting: &mut Digesting) -> Result<()> {
        digesting.add(&entry.stat.st_mode.to_le_bytes());
        if self.owners == Owners::Kept {
            digesting.add(&entry.stat.st_uid.to_le_bytes());
            digesting.add(&entry.stat.st_gid.to_le_bytes());
        }
        match entry.kind() {
            FileType::RegularFile => {
                digesting.add_content(self.open(&entry.path)?).context("read", entry.path.display())
            }
            FileType::Symlink => {
                let target = self.link_target(&entry.path)?;
                digesting.add(target.as_os_str().as_encoded_bytes());
                Ok(())
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                digesting.add(&entry.stat.st_rdev.to_le_bytes());
                Ok(())
            }
            FileType::Directory | FileType::Fifo => Ok(()),
            FileType::Socket | FileType::Unknown => Err(Error::invalid(format!(
                "{} is a socket, which cannot be copied",
                entry.path.display()
            ))
            .hint("name it in .dockerignore")),
        }
    }
}

/// Directories that do not take part themselves are needed by what in them does.
fn with_parents_of_kept(found: Vec<(Entry, bool)>) -> Vec<Entry> {
    let mut needed: BTreeSet<PathBuf> = BTreeSet::new();
    let mut kept = Vec::with_capacity(found.len());
    for (entry, is_kept) in found.into_iter().rev() {
        if is_kept || needed.contains(&entry.path) {
            needed.extend(entry.path.parent().map(Path::to_owned));
            kept.push(entry);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn tree(ignore: &str) -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/keep"), "1").unwrap();
        fs::write(dir.path().join("a/x"), "2").unwrap();
        fs::write(dir.path().join("y"), "3").unwrap();
        symlink("/a/x", dir.path().join("link")).unwrap();
        symlink("/etc/../../../etc/passwd", dir.path().join("out")).unwrap();
        let root = inside::open_root(dir.path()).unwrap();
        (dir, Tree::new(root, Ignore::parse(ignore).unwrap(), Owners::Root))
    }

    fn check(ignore: &str, expect: &[&str]) {
        let (_dir, tree) = tree(ignore);
        let found: Vec<String> = tree
            .below(Path::new(""))
            .unwrap()
            .into_iter()
            .map(|entry| entry.path.to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, expect, "{ignore:?}");
    }

    #[test]
    fn what_is_ignored_takes_no_part() {
        check("", &["a", "a/b", "a/b/keep", "a/x", "link", "out", "y"]);
        check("a\nlink\nout", &["y"]);
        check("*\n!a/b/keep", &["a", "a/b", "a/b/keep"]);
    }

    #[test]
    fn links_lead_nowhere_else() {
        let (_dir, tree) = tree("");
        let entry = tree.look(Path::new("link")).unwrap().unwrap();
        assert_eq!(entry.kind(), FileType::RegularFile);
        assert!(tree.look(Path::new("out")).unwrap().is_none());
        assert!(tree.look(Path::new("../../etc/passwd")).unwrap().is_none());
    }

    #[test]
    fn digests_see_content_and_mode_but_no_times() {
        let (dir, tree) = tree("");
        let digest = || {
            let mut digesting = Digesting::of("test");
            for entry in tree.below(Path::new("")).unwrap() {
                tree.digest(&entry, &mut digesting).unwrap();
            }
            digesting.finish()
        };
        let first = digest();
        fs::write(dir.path().join("y"), "3").unwrap();
        assert_eq!(digest(), first);
        fs::write(dir.path().join("y"), "4").unwrap();
        assert_ne!(digest(), first);
    }
}
