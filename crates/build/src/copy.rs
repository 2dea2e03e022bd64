//! Writing copies into the root file system of a stage.
//!
//! Every path is resolved inside the root anew (openat2(2), `RESOLVE_IN_ROOT`), so that no link leads out
//! of it. Directories that were there keep their times, and those that are made get a given one: the
//! same files make the same layer.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat,
        fchmod, fchown, fstat, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat,
        unlinkat, utimensat,
    },
    io::Errno,
};
use stasis_container::inside;
use stasis_dockerfile::Ignore;
use xattr::FileExt;

use crate::{
    error::{Context, Error, Result},
    owner::Owner,
    tree::{Entry, Owners, Tree},
};

/// What the copies shall be like where they differ from their originals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub owner: Option<Owner>,
    pub mode: Option<u32>,
}

/// A root file system that is written to.
#[derive(Debug)]
pub(crate) struct Target {
    root: OwnedFd,
    wishes: Wishes,
    time_of_new: Timespec,
    /// Times of directories, set at the end, when nothing is written in them any more.
    times: BTreeMap<PathBuf, Timespec>,
    /// Where files with several names were copied to.
    links: BTreeMap<(u64, u64), PathBuf>,
}

/// The kernel's own attributes, and those that tell an overlay of its layers.
const NOT_COPIED: [&str; 2] = ["trusted.overlay.", "security.selinux"];

impl Target {
    /// Directories and texts that have no original get `time_of_new`.
    pub fn new(root: OwnedFd, wishes: Wishes, time_of_new: Timestamp) -> Target {
        let time_of_new = timespec(time_of_new);
        Target { root, wishes, time_of_new, times: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Is there a directory at `path`, or at the end of the links there?
    pub fn has_dir(&self, path: &Path) -> bool {
        inside::open(&self.root, path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// Makes a directory and those above it; what is there stays as it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if a file is in the way.
    pub fn make_dirs(&mut self, path: &Path) -> Result<()> {
        let mut made = PathBuf::new();
        for part in path.components() {
            let Component::Normal(part) = part else { continue };
            let above = self.open_dir(&made)?;
            let whole = made.join(part);
            if !self.has_dir(&whole) {
                self.touch(&made, &above)?;
                mkdirat(&above, part, Mode::from(0o755))
                    .context("make directory", display(&whole))?;
                let owner = self.wishes.owner.unwrap_or_default();
                set_owner(&above, Path::new(part), owner)?;
                chmodat(&above, part, Mode::from(0o755), AtFlags::empty())
                    .context("set the mode of", display(&whole))?;
                self.times.insert(whole.clone(), self.time_of_new);
            }
            made = whole;
        }
        Ok(())
    }

    /// Opens a directory for others to change, which are told nothing of its time.
    ///
    /// # Errors
    /// As [`Target::make_dirs`].
    pub fn open_to_change(&mut self, path: &Path) -> Result<OwnedFd> {
        self.make_dirs(path)?;
        let dir = self.open_dir(path)?;
        self.touch(path, &dir)?;
        Ok(dir)
    }

    /// Copies one file; a directory is made without what is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a file is to take the place of a directory or the other way round.
    pub fn put(&mut self, tree: &Tree, entry: &Entry, to: &Path) -> Result<()> {
        if entry.is_dir() {
            return self.put_dir(tree, entry, to);
        }
        let (above, name) = self.room_for(to)?;
        if self.put_link_to_known(entry, &above, &name, to)? {
            return Ok(());
        }
        match entry.kind() {
            FileType::RegularFile => return self.put_file(tree, entry, &above, &name, to),
            FileType::Symlink => symlinkat(tree.link_target(&entry.path)?, &above, &name)
                .context("make link", display(to))?,
            kind => mknodat(&above, &name, kind, Mode::from(entry.mode()), entry.stat.st_rdev)
                .context("make", display(to))?,
        }
        set_owner(&above, &name, self.owner_of(tree, &entry.stat))?;
        if entry.kind() != FileType::Symlink {
            let mode = self.wishes.mode.unwrap_or(entry.mode());
            chmodat(&above, &name, Mode::from(mode), AtFlags::empty())
                .context("set the mode of", display(to))?;
        }
        utimensat(&above, &name, &both(mtime(&entry.stat)), AtFlags::SYMLINK_NOFOLLOW)
            .context("set the time of", display(to))
    }

    /// Writes a file that has no original.
    ///
    /// # Errors
    /// As [`Target::put`].
    pub fn put_text(&mut self, text: &[u8], to: &Path) -> Result<()> {
        let (above, name) = self.room_for(to)?;
        let mut file = create(&above, &name, to)?;
        file.write_all(text).context("write", display(to))?;
        let mode = self.wishes.mode.unwrap_or(0o644);
        let owner = self.wishes.owner.unwrap_or_default();
        settle(&file, owner, mode, self.time_of_new).context("finish", display(to))
    }

    /// Writes the times down that had to wait.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn finish(self) -> Result<()> {
        for (path, time) in &self.times {
            let dir = inside::open(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY);
            let dir = dir.context("open", display(path))?;
            futimens(&dir, &both(*time)).context("set the time of", display(path))?;
        }
        Ok(())
    }

    fn put_dir(&mut self, tree: &Tree, entry: &Entry, to: &Path) -> Result<()> {
        if !self.has_dir(to) {
            let (above, name) = self.room_for(to)?;
            mkdirat(&above, &name, Mode::from(0o700)).context("make directory", display(to))?;
        }
        let dir = inside::open(&self.root, to, OFlags::RDONLY | OFlags::DIRECTORY);
        let dir = File::from(dir.context("open", display(to))?);
        let mode = self.wishes.mode.unwrap_or(entry.mode());
        let time = mtime(&entry.stat);
        copy_attributes(&tree.open(&entry.path)?, &dir, to)?;
        settle(&dir, self.owner_of(tree, &entry.stat), mode, time)
            .context("finish", display(to))?;
        self.times.insert(to.to_owned(), time);
        Ok(())
    }

    fn put_file(
        &self,
        tree: &Tree,
        entry: &Entry,
        above: &OwnedFd,
        name: &Path,
        to: &Path,
    ) -> Result<()> {
        let mut original = tree.open(&entry.path)?;
        let mut file = create(above, name, to)?;
        io::copy(&mut original, &mut file).context("write", display(to))?;
        let owner = self.owner_of(tree, &entry.stat);
        let mode = self.wishes.mode.unwrap_or(entry.mode());
        set_fd_owner(&file, owner).context("set the owner of", display(to))?;
        // After the owner, whose change would take capabilities away.
        copy_attributes(&original, &file, to)?;
        settle_mode_and_time(&file, mode, mtime(&entry.stat)).context("finish", display(to))
    }

    /// Files with several names in the original are one file in the copy too.
    fn put_link_to_known(
        &mut self,
        entry: &Entry,
        above: &OwnedFd,
        name: &Path,
        to: &Path,
    ) -> Result<bool> {
        if entry.stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (entry.stat.st_dev, entry.stat.st_ino);
        let Some(known) = self.links.get(&key) else {
            self.links.insert(key, to.to_owned());
            return Ok(false);
        };
        let (dir, known_name) = (known.parent().unwrap_or(Path::new("")), known.file_name());
        let dir = self.open_dir(dir)?;
        linkat(&dir, known_name.unwrap_or_default(), above, name, AtFlags::empty())
            .context("link", display(to))?;
        Ok(true)
    }

    /// The directory and the name under which something new can be made; what was there is gone.
    fn room_for(&mut self, path: &Path) -> Result<(OwnedFd, PathBuf)> {
        let Some(name) = path.file_name().map(PathBuf::from) else {
            return Err(Error::invalid("the root directory cannot be replaced"));
        };
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        self.make_dirs(&dir)?;
        let above = self.open_dir(&dir)?;
        self.touch(&dir, &above)?;
        let there = statat(&above, &name, AtFlags::SYMLINK_NOFOLLOW);
        match there.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).context("look at", display(path)),
            Ok(FileType::Directory) => {
                let path = display(path);
                return Err(Error::invalid(format!("a file cannot replace the directory {path}")));
            }
            Ok(_) => unlinkat(&above, &name, AtFlags::empty()).context("replace", display(path))?,
        }
        Ok((above, name))
    }

    fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        match inside::open(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOTDIR) => {
                Err(Error::invalid(format!("{} is not a directory", display(path))))
            }
            other => other.context("open", display(path)),
        }
    }

    /// Notes the time of a directory before it is changed for the first time.
    fn touch(&mut self, path: &Path, dir: &OwnedFd) -> Result<()> {
        if !self.times.contains_key(path) {
            let stat = fstat(dir).context("look at", display(path))?;
            self.times.insert(path.to_owned(), mtime(&stat));
        }
        Ok(())
    }

    fn owner_of(&self, tree: &Tree, stat: &Stat) -> Owner {
        let original = match tree.owners {
            Owners::Kept => Owner { uid: stat.st_uid, gid: stat.st_gid },
            Owners::Root => Owner::default(),
        };
        self.wishes.owner.unwrap_or(original)
    }
}

/// Copies what is in a directory of ours to another one, with its owners.
///
/// # Errors
/// As [`Target::put`].
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let tree = Tree::new(inside::open_root(from)?, Ignore::default(), Owners::Kept);
    let mut target = Target::new(inside::open_root(to)?, Wishes::default(), Timestamp::UNIX_EPOCH);
    for entry in tree.below(Path::new(""))? {
        target.put(&tree, &entry, &entry.path)?;
    }
    target.finish()
}

/// Gives a directory of ours the owner, mode, attributes and times of another one.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub(crate) fn copy_directory_attributes(from: &Path, to: &Path) -> Result<()> {
    let (original, copy) = (inside::open_root(from)?, inside::open_root(to)?);
    let stat = fstat(&original).context("look at", from.display())?;
    let copy = File::from(copy);
    let owner = Owner { uid: stat.st_uid, gid: stat.st_gid };
    set_fd_owner(&copy, owner).context("set the owner of", to.display())?;
    copy_attributes(&File::from(original), &copy, to)?;
    settle_mode_and_time(&copy, stat.st_mode & 0o7777, mtime(&stat)).context("finish", to.display())
}

/// As the user knows it: from the root on.
fn display(path: &Path) -> String {
    format!("/{}", path.display())
}

fn create(above: &OwnedFd, name: &Path, to: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(above, name, flags, Mode::from(0o600));
    Ok(File::from(file.context("make", display(to))?))
}

fn set_owner(above: &OwnedFd, name: &Path, owner: Owner) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    chownat(above, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .context("set the owner of", name.display())
}

fn set_fd_owner(file: &File, owner: Owner) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

fn settle(file: &File, owner: Owner, mode: u32, time: Timespec) -> rustix::io::Result<()> {
    set_fd_owner(file, owner)?;
    settle_mode_and_time(file, mode, time)
}

fn settle_mode_and_time(file: &File, mode: u32, time: Timespec) -> rustix::io::Result<()> {
    fchmod(file, Mode::from(mode))?;
    futimens(file.as_fd(), &both(time))
}

fn copy_attributes(original: &File, copy: &File, to: &Path) -> Result<()> {
    let names = match original.list_xattr() {
        Ok(names) => names,
        // A file system without extended attributes.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            return Ok(());
        }
        Err(error) => return Err(error).context("read attributes for", display(to)),
    };
    for name in names {
        let text = name.to_string_lossy();
        if NOT_COPIED.iter().any(|prefix| text.starts_with(prefix)) {
            continue;
        }
        if let Some(value) =
            original.get_xattr(&name).context("read attributes for", display(to))?
        {
            copy.set_xattr(&name, &value).context("set an attribute of", display(to))?;
        }
    }
    Ok(())
}

pub(crate) fn timespec(time: Timestamp) -> Timespec {
    let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
    let rest = time.as_nanosecond().rem_euclid(1_000_000_000);
    Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or_default(),
        tv_nsec: i64::try_from(rest).unwrap_or_default(),
    }
}

fn mtime(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    }
}

fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Place {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("from")).unwrap();
            fs::create_dir(dir.path().join("root")).unwrap();
            Place(dir)
        }

        fn from(&self, path: &str) -> PathBuf {
            self.0.path().join("from").join(path)
        }

        fn root(&self, path: &str) -> PathBuf {
            self.0.path().join("root").join(path)
        }

        fn target(&self, wishes: Wishes) -> Target {
            let root = inside::open_root(&self.root("")).unwrap();
            Target::new(root, wishes, Timestamp::from_second(1000).unwrap())
        }

        fn copy_all(&self, to: &str, wishes: Wishes) -> Result<()> {
            let root = inside::open_root(&self.from("")).unwrap();
            let tree = Tree::new(root, Ignore::default(), Owners::Root);
            let mut target = self.target(wishes);
            for entry in tree.below(Path::new("")).unwrap() {
                target.put(&tree, &entry, &Path::new(to).join(&entry.path))?;
            }
            target.finish()
        }
    }

    #[test]
    fn attributes_and_times_are_those_of_the_originals() {
        let place = Place::new();
        fs::create_dir(place.from("d")).unwrap();
        fs::write(place.from("d/f"), "x").unwrap();
        fs::set_permissions(place.from("d/f"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(place.from("d/f"), place.from("g")).unwrap();
        xattr::set(place.from("d/f"), "user.a", b"1").unwrap();
        symlink("nowhere", place.from("l")).unwrap();
        place.copy_all("new", Wishes::default()).unwrap();
        let meta = |path: PathBuf| fs::symlink_metadata(path).unwrap();
        for name in ["d", "d/f", "l"] {
            let (a, b) = (meta(place.from(name)), meta(place.root("new").join(name)));
            assert_eq!((a.mode(), a.mtime_nsec()), (b.mode(), b.mtime_nsec()), "{name}");
            assert_eq!((b.uid(), b.gid()), (0, 0));
        }
        assert_eq!(meta(place.root("new")).mtime(), 1000);
        assert_eq!(meta(place.root("new/g")).ino(), meta(place.root("new/d/f")).ino());
        assert_eq!(xattr::get(place.root("new/g"), "user.a").unwrap().unwrap(), b"1");
    }

    #[test]
    fn wishes_stand_above_the_originals() {
        let place = Place::new();
        fs::write(place.from("f"), "x").unwrap();
        let wishes = Wishes { owner: Some(Owner { uid: 5, gid: 6 }), mode: Some(0o600) };
        place.copy_all("a/b", wishes).unwrap();
        let meta = fs::metadata(place.root("a/b/f")).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (5, 6, 0o600));
        assert_eq!(fs::metadata(place.root("a")).unwrap().uid(), 5);
    }

    #[test]
    fn links_in_the_target_stay_inside() {
        let place = Place::new();
        fs::write(place.from("f"), "x").unwrap();
        fs::create_dir(place.root("usr")).unwrap();
        symlink("../../../../usr", place.root("lib")).unwrap();
        symlink("/etc/passwd", place.root("usr/f")).unwrap();
        let before = fs::metadata(place.root("usr")).unwrap().mtime_nsec();
        place.copy_all("lib", Wishes::default()).unwrap();
        assert_eq!(fs::read(place.root("usr/f")).unwrap(), b"x");
        assert_eq!(fs::metadata(place.root("usr")).unwrap().mtime_nsec(), before);
    }

    #[test]
    fn files_and_directories_do_not_replace_each_other() {
        let place = Place::new();
        fs::write(place.from("x"), "").unwrap();
        fs::create_dir(place.root("x")).unwrap();
        assert!(place.copy_all("", Wishes::default()).is_err());
        fs::write(place.root("file"), "").unwrap();
        assert!(place.copy_all("file", Wishes::default()).is_err());
    }

    #[test]
    fn texts_have_the_given_time() {
        let place = Place::new();
        let mut target = place.target(Wishes::default());
        target.put_text(b"hello", Path::new("d/t")).unwrap();
        target.finish().unwrap();
        let meta = fs::metadata(place.root("d/t")).unwrap();
        assert_eq!((meta.mtime(), meta.mode() & 0o7777), (1000, 0o644));
    }
}
