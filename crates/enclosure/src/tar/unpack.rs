//! From the stream to a directory.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, chmodat, chownat, fchmod, fchown,
        futimens, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
        utimensat,
    },
    io::Errno,
};
use tar_core::EntryType;

use super::{
    AUFS_PREFIX, Form, OPAQUE_ATTRIBUTE, OPAQUE_MEMBER, OVERLAY_PREFIX, WHITEOUT_PREFIX,
    beneath::{open_beneath, own_path},
    inherited::Inherited,
    member::{Member, refused},
    source::{Ending, Source},
};
use crate::error::{Context, Error, Result};

/// A layer to be unpacked: what lies below it, and how much it may hold.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Lower directories, the lowest first.
    pub below: &'a [PathBuf],
    pub max_members: u64,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub nr_members: u64,
    /// Contents of files, holes not counted.
    pub size_bytes: u64,
}

/// Makes in the empty directory `target` what the stream holds; see [`Form::Exact`] and
/// [`Form::Changes`].
///
/// # Errors
/// [`Error::Archive`] for a member that leads out of `target`, or replaces another one, or is of an
/// unknown kind; [`Error::Refused`] by the file system or the stream.
pub fn unpack(input: &mut dyn Read, target: &Path) -> Result<()> {
    Unpacker::new(input, target, Form::Exact, u64::MAX)?.run().map(drop)
}

/// To whom the files belong that are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    AsStored,
    /// All to this user and this group.
    One(u32, u32),
}

/// Adds what the stream holds to the directory `target`; see [`Form::Plain`]. What is there under the
/// same name is replaced.
///
/// # Errors
/// As [`unpack`], but members may be replaced.
pub fn unpack_over(input: &mut dyn Read, target: &Path) -> Result<Unpacked> {
    Unpacker::new(input, target, Form::Plain, u64::MAX)?.run()
}

/// As [`unpack_over`], but neither is a directory replaced by a file nor a file by a directory, and
/// the files may all get one owner.
///
/// # Errors
/// As [`unpack_over`]; [`Error::Archive`] also where a directory and a file meet.
pub fn unpack_among(input: &mut dyn Read, target: &Path, owners: Owners) -> Result<Unpacked> {
    let mut unpacker = Unpacker::new(input, target, Form::Plain, u64::MAX)?;
    unpacker.owners = owners;
    unpacker.replaces = Replaces::SameKind;
    unpacker.run()
}

/// Makes in the empty directory `target` a lower directory of an overlay; see [`Form::Layer`].
///
/// A later member replaces an earlier one. Directories that the layer does not tell of are as they
/// are in the layers below. Attributes of overlayfs are not taken from a layer: they are the state of
/// who made it, and could lead elsewhere.
///
/// # Errors
/// As [`unpack`]; [`Error::Archive`] also for a whiteout of the root or above it, for a device that
/// would be a whiteout, and for more members than are allowed.
pub fn unpack_layer(input: &mut dyn Read, target: &Path, layer: Layer<'_>) -> Result<Unpacked> {
    let mut unpacker = Unpacker::new(input, target, Form::Layer, layer.max_members)?;
    unpacker.inherited = Inherited::new(layer.below);
    unpacker.inherit(Path::new(""))?;
    unpacker.run()
}

/// What may be replaced by a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaces {
    Anything,
    SameKind,
}

struct Unpacker<'a> {
    source: Source<'a>,
    root: OwnedFd,
    form: Form,
    owners: Owners,
    replaces: Replaces,
    max_members: u64,
    inherited: Inherited<'a>,
    /// The directory of the last member, since the next one is likely to lie there too.
    last_parent: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Their times are set last, since making members changes them.
    directories: Vec<(PathBuf, Timestamps)>,
    unpacked: Unpacked,
}

impl<'a> Unpacker<'a> {
    fn new(
        input: &'a mut dyn Read,
        target: &Path,
        form: Form,
        max_members: u64,
    ) -> Result<Unpacker<'a>> {
        let ending = if form == Form::Exact { Ending::Marked } else { Ending::Bare };
        Ok(Unpacker {
            source: Source::new(input, ending),
            root: File::open(target).context("open", target.display())?.into(),
            form,
            owners: Owners::AsStored,
            replaces: Replaces::Anything,
            max_members,
            inherited: Inherited::default(),
            last_parent: None,
            directories: Vec::new(),
            unpacked: Unpacked::default(),
        })
    }

    fn run(mut self) -> Result<Unpacked> {
        while let Some(mut member) = self.source.next_member()? {
            if let Owners::One(uid, gid) = self.owners {
                (member.uid, member.gid) = (uid, gid);
            }
            self.unpacked.nr_members += 1;
            if self.unpacked.nr_members > self.max_members {
                let reason = format!("it has more than {} members", self.max_members);
                return Err(super::member::garbled(reason));
            }
            self.member(&member)?;
        }
        self.set_times_of_directories()?;
        Ok(self.unpacked)
    }

    fn member(&mut self, member: &Member) -> Result<()> {
        let path = member.inner_path()?;
        let Some(name) = path.file_name() else { return self.root_itself(member) };
        let parent = self.parent(&path)?;
        if self.form == Form::Layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            self.source.skip(member.stored_bytes)?;
            self.source.skip_padding(member.stored_bytes)?;
            return self.whiteout(&parent, &path, name);
        }
        let name = Path::new(name);
        let before = match self.form {
            Form::Exact | Form::Changes => Place::Free,
            Form::Layer | Form::Plain => self.clear(&parent, name, member, &path)?,
        };
        self.make(&parent, name, member, &path)?;
        if before == Place::Hidden && member.kind == EntryType::Directory {
            // The whiteout hides what lies below; so must the directory in its place.
            set_opaque(&own_path(&parent, name), &path)?;
        }
        Ok(())
    }

    fn make(&mut self, parent: &OwnedFd, name: &Path, member: &Member, path: &Path) -> Result<()> {
        match member.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => {
                return self.regular(parent, name, member);
            }
            EntryType::Link => return self.hard_link(parent, name, member),
            EntryType::Directory => match mkdirat(parent, name, Mode::from(0o700)) {
                Err(Errno::EXIST) if self.open_dir(path).is_ok() => {}
                other => other.context("make directory", path.display())?,
            },
            EntryType::Symlink => {
                let link = member.link.as_ref().ok_or_else(|| refused(path, "it has no target"))?;
                symlinkat(link, parent, name).context("make link", path.display())?;
            }
            EntryType::Char => self.device(parent, name, FileType::CharacterDevice, member)?,
            EntryType::Block => self.device(parent, name, FileType::BlockDevice, member)?,
            EntryType::Fifo if member.is_socket => node(parent, name, FileType::Socket, path)?,
            EntryType::Fifo => node(parent, name, FileType::Fifo, path)?,
            other => return Err(refused(path, format!("it is of kind {other:?}"))),
        }
        self.attributes(parent, name, member)?;
        if member.kind == EntryType::Directory {
            self.directories.push((path.to_owned(), member.times.clone()));
            self.hide(&self.open_dir(path)?, member, path)?;
        }
        Ok(())
    }

    /// What a directory's records say of the layers below.
    fn hide(&self, dir: &OwnedFd, member: &Member, path: &Path) -> Result<()> {
        if !matches!(self.form, Form::Exact | Form::Changes) {
            return Ok(());
        }
        if member.is_opaque {
            set_opaque(&own_path(dir, "."), path)?;
        }
        member.whiteouts.iter().try_for_each(|name| {
            mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
                .context("make", path.join(name).display())
        })
    }

    fn root_itself(&mut self, member: &Member) -> Result<()> {
        if member.kind != EntryType::Directory {
            return Err(refused(&member.path, "the root is not a directory"));
        }
        let root = self.root.try_clone().context("duplicate", "the root")?;
        self.attributes(&root, Path::new("."), member)?;
        self.directories.push((PathBuf::from("."), member.times.clone()));
        self.hide(&root, member, Path::new("."))
    }

    /// What a layer hides of those below it. Files of the layer itself are not meant (OCI image-spec,
    /// "Whiteouts"), wherever they stand in the stream.
    fn whiteout(&mut self, parent: &OwnedFd, path: &Path, name: &OsStr) -> Result<()> {
        if name.as_bytes() == OPAQUE_MEMBER {
            return set_opaque(&own_path(parent, "."), path);
        }
        if name.as_bytes().starts_with(AUFS_PREFIX) {
            return Ok(());
        }
        let hidden = name.as_bytes().strip_prefix(WHITEOUT_PREFIX).unwrap_or_default();
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path, "it is a whiteout of no name, or of the root or above it"));
        }
        let hidden = Path::new(OsStr::from_bytes(hidden));
        match self.look(parent, hidden, path)? {
            None => mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)
                .context("make", path.display()),
            Some(FileType::Directory) => set_opaque(&own_path(parent, hidden), path),
            Some(_) => Ok(()),
        }
    }

    fn look(&self, parent: &OwnedFd, name: &Path, path: &Path) -> Result<Option<FileType>> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context("look at", path.display()),
        }
    }

    /// Makes room for a member; a directory takes the place of a directory without losing what is in
    /// it.
    fn clear(
        &mut self,
        parent: &OwnedFd,
        name: &Path,
        member: &Member,
        path: &Path,
    ) -> Result<Place> {
        if member.kind == EntryType::Link {
            // Before something is removed that it might be a link to.
            member.hard_link_target()?;
        }
        let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(Place::Free);
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        if is_directory && member.kind == EntryType::Directory {
            return Ok(Place::Free);
        }
        let meets_other_kind = is_directory != (member.kind == EntryType::Directory);
        if self.replaces == Replaces::SameKind && meets_other_kind {
            let reason = if is_directory { "a directory" } else { "no directory" };
            return Err(refused(path, format!("what has its name already is {reason}")));
        }
        // It may be the directory of the last member, or lie above it.
        self.last_parent = None;
        let removed = match is_directory {
            true => std::fs::remove_dir_all(own_path(parent, name)),
            false => unlinkat(parent, name, AtFlags::empty()).map_err(Into::into),
        };
        removed.context("replace", path.display())?;
        let was_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        Ok(if was_whiteout { Place::Hidden } else { Place::Free })
    }

    /// Opens the directory of a member without going through links; makes it if it is missing.
    fn parent(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        let dir = path.parent().unwrap_or(Path::new(""));
        if let Some((last, parent)) = &self.last_parent
            && last == dir
        {
            return Ok(parent.clone());
        }
        let parent = Rc::new(self.open_or_make_dir(dir)?);
        self.last_parent = Some((dir.to_owned(), parent.clone()));
        Ok(parent)
    }

    fn open_or_make_dir(&mut self, dir: &Path) -> Result<OwnedFd> {
        match self.open_dir(dir) {
            Err(Error::Refused { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let above = self.open_or_make_dir(dir.parent().unwrap_or(Path::new("")))?;
                let name = dir.file_name().ok_or_else(|| refused(dir, "it has no name"))?;
                mkdirat(&above, name, Mode::from(0o755))
                    .context("make directory", dir.display())?;
                self.inherit(dir)?;
                self.open_dir(dir)
            }
            Err(Error::Refused { source, .. }) if is_not_a_directory(&source) => {
                Err(refused(dir, "members are in it, but it is a link or no directory"))
            }
            other => other,
        }
    }

    /// Gives a directory that no member tells of the attributes that it has in the layers below.
    fn inherit(&mut self, dir: &Path) -> Result<()> {
        let Some(attributes) = self.inherited.of(dir)? else { return Ok(()) };
        let opened = self.open_dir(dir)?;
        attributes.set(&opened, dir)?;
        self.directories.push((dir.to_owned(), attributes.times));
        Ok(())
    }

    fn open_dir(&self, dir: &Path) -> Result<OwnedFd> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        open_beneath(&self.root, dir, OFlags::RDONLY | OFlags::DIRECTORY)
            .context("open", dir.display())
    }

    fn regular(&mut self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let path = &member.path;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(parent, name, flags, Mode::from(0o600)).context("make", path.display())?;
        let mut file = File::from(file);
        match &member.sparse {
            None => self.source.copy(member.stored_bytes, &mut file, path)?,
            Some((map, real_size)) => {
                for extent in map {
                    file.seek(SeekFrom::Start(extent.offset)).context("write", path.display())?;
                    self.source.copy(extent.length, &mut file, path)?;
                }
                file.set_len(*real_size).context("write", path.display())?;
            }
        }
        self.source.skip_padding(member.stored_bytes)?;
        self.unpacked.size_bytes += member.stored_bytes;
        self.file_attributes(&file, member)
    }

    /// The attributes are those of the file it is another name of.
    fn hard_link(&mut self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let target = member.hard_link_target()?;
        // Opened first, so that no link on the way leads elsewhere.
        let above = target.parent().unwrap_or(Path::new(""));
        let above = self.open_dir(above).map_err(|_| no_target(member, &target))?;
        let target_name = target.file_name().unwrap_or_default();
        match linkat(&above, target_name, parent, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(no_target(member, &target)),
            other => other.context("link", member.path.display()),
        }
    }

    fn device(&self, parent: &OwnedFd, name: &Path, kind: FileType, member: &Member) -> Result<()> {
        let (major, minor) = member.device;
        let is_whiteout = kind == FileType::CharacterDevice && (major, minor) == (0, 0);
        if self.form == Form::Layer && is_whiteout {
            return Err(refused(&member.path, "the device 0/0 would hide what lies below"));
        }
        mknodat(parent, name, kind, Mode::from(0o600), makedev(major, minor))
            .context("make", member.path.display())
    }

    /// In this order: chown(2) clears set-user-ID bits and `security.capability`, and so does writing.
    fn file_attributes(&self, file: &File, member: &Member) -> Result<()> {
        let context = || member.path.display();
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        fchown(file, Some(uid), Some(gid)).context("change the owner of", context())?;
        fchmod(file, Mode::from_raw_mode(member.mode & 0o7777))
            .context("change the mode of", context())?;
        for (key, value) in self.wanted_xattrs(member) {
            xattr::FileExt::set_xattr(file, key, value)
                .context("set the attributes of", context())?;
        }
        futimens(file, &member.times).context("set the times of", context())
    }

    /// As for files, which everything else cannot be opened like.
    fn attributes(&self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let context = || member.path.display();
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context("change the owner of", context())?;
        if member.kind != EntryType::Symlink {
            chmodat(parent, name, Mode::from_raw_mode(member.mode & 0o7777), AtFlags::empty())
                .context("change the mode of", context())?;
        }
        let own = own_path(parent, name);
        for (key, value) in self.wanted_xattrs(member) {
            xattr::set(&own, key, value).context("set the attributes of", context())?;
        }
        utimensat(parent, name, &member.times, AtFlags::SYMLINK_NOFOLLOW)
            .context("set the times of", context())
    }

    fn wanted_xattrs<'m>(&self, member: &'m Member) -> impl Iterator<Item = (&'m OsStr, &'m [u8])> {
        let keeps_overlay = self.form == Form::Exact;
        let is_wanted = move |key: &[u8]| keeps_overlay || !key.starts_with(OVERLAY_PREFIX);
        let pairs = member.xattrs.iter().filter(move |(key, _)| is_wanted(key));
        pairs.map(|(key, value)| (OsStr::from_bytes(key), value.as_slice()))
    }

    /// The deepest first. A directory that a later member replaced is passed over.
    fn set_times_of_directories(&self) -> Result<()> {
        for (path, times) in self.directories.iter().rev() {
            match self.open_dir(path) {
                Ok(dir) => futimens(&dir, times).context("set the times of", path.display())?,
                Err(Error::Refused { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound
                        || is_not_a_directory(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What was where a member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// A whiteout.
    Hidden,
}

fn is_not_a_directory(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::NOTDIR, Errno::LOOP].iter().any(|no| Some(no.raw_os_error()) == errno)
}

fn no_target(member: &Member, target: &Path) -> Error {
    let target = target.display();
    refused(&member.path, format!("it is a hard link to {target}, which is not in the archive"))
}

fn node(parent: &OwnedFd, name: &Path, kind: FileType, path: &Path) -> Result<()> {
    mknodat(parent, name, kind, Mode::from(0o600), 0).context("make", path.display())
}

fn set_opaque(own: &Path, path: &Path) -> Result<()> {
    xattr::set(own, OPAQUE_ATTRIBUTE, b"y").context("set the attributes of", path.display())
}
