//! From the stream to a directory. The stream is hostile until it has proved otherwise.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chmodat,
        chownat, linkat, makedev, mkdirat, mknodat, openat, openat2, symlinkat, utimensat,
    },
    io::Errno,
};
use tar_core::{
    EntryType, PaxExtensions, SparseEntry,
    parse::{Limits, ParseEvent, ParsedEntry, Parser},
};

use super::{SOCKET_RECORD, XATTR_PREFIX, padding};
use crate::error::{Context, Error, Result};

const OPAQUE: &str = ".wh..wh..opq";
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const READ_BYTES: usize = 64 << 10;
const MAX_METADATA_BYTES: u32 = 4 << 20;
const MAX_SPARSE_ENTRIES: usize = 1 << 20;

/// Makes in the empty directory `target` what the stream holds.
///
/// # Errors
/// [`Error::Archive`] for a member that leads out of `target`, or replaces another one, or is of an
/// unknown kind; [`Error::Refused`] by the file system or the stream.
pub fn unpack(input: &mut dyn Read, target: &Path) -> Result<()> {
    let root = File::open(target).context("open", target.display())?;
    let mut unpacker =
        Unpacker { source: Source::new(input), root: root.into(), directories: Vec::new() };
    while let Some(member) = unpacker.source.next_member()? {
        unpacker.member(&member)?;
    }
    unpacker.finish()
}

/// As [`unpack`], for a layer of an image: whiteouts are files named `.wh.NAME`, a later member
/// replaces an earlier one. Gives the size of what was made.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_layer(input: &mut dyn Read, target: &Path, _below: &[PathBuf]) -> Result<u64> {
    let root = File::open(target).context("open", target.display())?;
    let mut unpacker =
        Unpacker { source: Source::new(input), root: root.into(), directories: Vec::new() };
    let mut size_bytes = 0;
    while let Some(member) = unpacker.source.next_member()? {
        size_bytes += member.stored_bytes;
        unpacker.layer_member(member)?;
    }
    unpacker.finish()?;
    Ok(size_bytes)
}

/// A member, free of the buffer it was parsed from.
#[derive(Debug)]
struct Member {
    path: PathBuf,
    kind: EntryType,
    link: Option<PathBuf>,
    mode: u32,
    uid: u32,
    gid: u32,
    times: Timestamps,
    device: (u32, u32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    is_socket: bool,
    stored_bytes: u64,
    sparse: Option<(Vec<SparseEntry>, u64)>,
}

struct Unpacker<'a> {
    source: Source<'a>,
    root: OwnedFd,
    /// Their times are set last, since making members changes them.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Unpacker<'_> {
    fn layer_member(&mut self, mut member: Member) -> Result<()> {
        if let Ok(relative) = member.path.strip_prefix("/") {
            member.path = relative.to_owned();
        }
        if let Some(Ok(relative)) = member.link.as_ref().map(|link| link.strip_prefix("/"))
            && member.kind == EntryType::Link
        {
            member.link = Some(relative.to_owned());
        }
        let path = inner_path(&member.path)?;
        let Some(name) = path.file_name() else { return self.member(&member) };
        let parent = self.parent(&path)?;
        if name == OPAQUE {
            let own = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
            return xattr::set(own, "trusted.overlay.opaque", b"y")
                .context("set the attributes of", path.display());
        }
        let whiteout = name.as_bytes().strip_prefix(WHITEOUT_PREFIX);
        if let Some(hidden) = whiteout {
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(refused(&path, "it hides no name"));
            }
            member.kind = EntryType::Char;
            member.device = (0, 0);
            member.path = path.with_file_name(std::ffi::OsStr::from_bytes(hidden));
        }
        self.clear_place(&parent, &member)?;
        self.member(&member)
    }

    fn clear_place(&self, parent: &OwnedFd, member: &Member) -> Result<()> {
        let Some(name) = member.path.file_name() else { return Ok(()) };
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                if member.kind == EntryType::Directory {
                    return Ok(());
                }
                let own = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
                std::fs::remove_dir_all(own.join(name))
            }
            _ => rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(Into::into),
        }
        .context("replace", member.path.display())
    }

    fn member(&mut self, member: &Member) -> Result<()> {
        let path = inner_path(&member.path)?;
        let Some(name) = path.file_name() else { return self.root_itself(member) };
        let parent = self.parent(&path)?;
        let name = Path::new(name);
        match member.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => {
                self.regular(&parent, name, member)?;
            }
            EntryType::Link => return self.hard_link(&parent, name, member),
            EntryType::Directory => match mkdirat(&parent, name, Mode::from(0o700)) {
                Err(Errno::EXIST) if self.is_directory(&path) => {}
                other => other.context("make directory", path.display())?,
            },
            EntryType::Symlink => {
                let link =
                    member.link.as_ref().ok_or_else(|| refused(&path, "it has no target"))?;
                symlinkat(link, &parent, name).context("make link", path.display())?;
            }
            EntryType::Char => node(&parent, name, FileType::CharacterDevice, member)?,
            EntryType::Block => node(&parent, name, FileType::BlockDevice, member)?,
            EntryType::Fifo if member.is_socket => node(&parent, name, FileType::Socket, member)?,
            EntryType::Fifo => node(&parent, name, FileType::Fifo, member)?,
            other => return Err(refused(&path, format!("it is of kind {other:?}"))),
        }
        self.attributes(&parent, name, member)?;
        if member.kind == EntryType::Directory {
            self.directories.push((path, member.times.clone()));
        }
        Ok(())
    }

    fn root_itself(&mut self, member: &Member) -> Result<()> {
        if member.kind != EntryType::Directory {
            return Err(refused(&member.path, "the root is not a directory"));
        }
        let root = self.root.try_clone().context("duplicate", "the root")?;
        self.attributes(&root, Path::new("."), member)?;
        self.directories.push((PathBuf::from("."), member.times.clone()));
        Ok(())
    }

    /// Opens the directory of a member without going through links; makes it if it is missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd> {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let Some(dir) = parent else { return self.open_dir(Path::new(".")) };
        match self.open_dir(dir) {
            Err(Error::Refused { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let above = self.parent(dir)?;
                let name = dir.file_name().ok_or_else(|| refused(path, "it has no directory"))?;
                mkdirat(&above, name, Mode::from(0o755))
                    .context("make directory", dir.display())?;
                self.open_dir(dir)
            }
            other => other,
        }
    }

    fn open_dir(&self, dir: &Path) -> Result<OwnedFd> {
        self.open_beneath(dir, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat2(&self.root, path, flags, Mode::empty(), resolve).context("open", path.display())
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.open_dir(path).is_ok()
    }

    fn regular(&mut self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::from(0o600))
            .context("make", member.path.display())?;
        let mut file = File::from(file);
        match &member.sparse {
            None => self.source.copy(member.stored_bytes, &mut file)?,
            Some((map, real_size)) => {
                for extent in map {
                    let end = extent.offset.checked_add(extent.length);
                    if end.is_none_or(|end| end > *real_size) {
                        return Err(refused(&member.path, "its data lies behind its end"));
                    }
                    file.seek(SeekFrom::Start(extent.offset))
                        .context("write", member.path.display())?;
                    self.source.copy(extent.length, &mut file)?;
                }
                file.set_len(*real_size).context("write", member.path.display())?;
            }
        }
        self.source.skip(padding(member.stored_bytes))
    }

    /// The attributes are those of the file it is another name of.
    fn hard_link(&self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let link = member.link.as_ref().ok_or_else(|| refused(&member.path, "it has no target"))?;
        let target = inner_path(link)?;
        // Opened first, so that no link on the way leads elsewhere.
        let above = self.parent(&target)?;
        let target = target.file_name().ok_or_else(|| refused(&member.path, "it has no target"))?;
        linkat(&above, target, parent, name, AtFlags::empty())
            .context("link", member.path.display())
    }

    /// In this order: chown(2) clears set-user-ID bits and `security.capability`.
    fn attributes(&self, parent: &OwnedFd, name: &Path, member: &Member) -> Result<()> {
        let context = || member.path.display();
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context("change the owner of", context())?;
        if member.kind != EntryType::Symlink {
            chmodat(parent, name, Mode::from_raw_mode(member.mode & 0o7777), AtFlags::empty())
                .context("change the mode of", context())?;
        }
        let own = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
        for (key, value) in &member.xattrs {
            xattr::set(&own, std::ffi::OsStr::from_bytes(key), value)
                .context("set the attributes of", context())?;
        }
        utimensat(parent, name, &member.times, AtFlags::SYMLINK_NOFOLLOW)
            .context("set the times of", context())
    }

    fn finish(mut self) -> Result<()> {
        for (path, times) in std::mem::take(&mut self.directories).iter().rev() {
            let dir = self.open_dir(path)?;
            rustix::fs::futimens(&dir, times).context("set the times of", path.display())?;
        }
        Ok(())
    }
}

fn node(parent: &OwnedFd, name: &Path, kind: FileType, member: &Member) -> Result<()> {
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let (major, minor) = if is_device { member.device } else { (0, 0) };
    mknodat(parent, name, kind, Mode::from(0o600), makedev(major, minor))
        .context("make", member.path.display())
}

/// The path below the root; empty for the root itself.
fn inner_path(path: &Path) -> Result<PathBuf> {
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => inner.push(part),
            _ => return Err(refused(path, "it leads out of the archive")),
        }
    }
    Ok(inner)
}

fn refused(path: &Path, reason: impl ToString) -> Error {
    Error::Archive { member: path.display().to_string(), reason: reason.to_string() }
}

/// The stream with the headers parsed out of it.
struct Source<'a> {
    input: &'a mut dyn Read,
    parser: Parser,
    buffer: Vec<u8>,
}

impl<'a> Source<'a> {
    fn new(input: &'a mut dyn Read) -> Source<'a> {
        let limits = Limits {
            max_metadata_size: MAX_METADATA_BYTES,
            max_path_len: Some(4096),
            max_sparse_entries: MAX_SPARSE_ENTRIES,
            ..Limits::default()
        };
        let mut parser = Parser::new(limits);
        // Times with fractions or before 1970 are read by us.
        parser.set_ignore_pax_errors(true);
        Source { input, parser, buffer: Vec::new() }
    }

    /// `None` at the end of the archive.
    fn next_member(&mut self) -> Result<Option<Member>> {
        loop {
            let (consumed, member) = match self.parser.parse(&self.buffer).map_err(garbled)? {
                ParseEvent::NeedData { min_bytes } => {
                    self.fill(min_bytes)?;
                    continue;
                }
                ParseEvent::Entry { consumed, entry } => {
                    (consumed, Some(Member::new(&entry, None)?))
                }
                ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                    (consumed, Some(Member::new(&entry, Some((sparse_map, real_size)))?))
                }
                ParseEvent::GlobalExtensions { consumed, .. } => (consumed, None),
                ParseEvent::End { .. } => return Ok(None),
            };
            self.buffer.drain(..consumed);
            if member.is_some() {
                return Ok(member);
            }
        }
    }

    /// Reads until so much is there; an archive that just ends was cut.
    fn fill(&mut self, min_bytes: usize) -> Result<()> {
        let mut chunk = vec![0; READ_BYTES.max(min_bytes - self.buffer.len().min(min_bytes))];
        while self.buffer.len() < min_bytes {
            let count = self.input.read(&mut chunk).context("read", "the archive")?;
            if count == 0 {
                return Err(garbled("it ends too early"));
            }
            self.buffer.extend_from_slice(&chunk[..count]);
        }
        Ok(())
    }

    fn copy(&mut self, len_bytes: u64, out: &mut dyn Write) -> Result<()> {
        let buffered = self.buffer.len().min(usize::try_from(len_bytes).unwrap_or(usize::MAX));
        out.write_all(&self.buffer[..buffered]).context("write", "a file of the archive")?;
        self.buffer.drain(..buffered);
        let left = len_bytes - buffered as u64;
        let copied = std::io::copy(&mut (&mut *self.input).take(left), out)
            .context("copy", "a file of the archive")?;
        if copied < left { Err(garbled("it ends too early")) } else { Ok(()) }
    }

    fn skip(&mut self, len_bytes: u64) -> Result<()> {
        self.copy(len_bytes, &mut std::io::sink())
    }
}

impl Member {
    fn new(entry: &ParsedEntry<'_>, sparse: Option<(Vec<SparseEntry>, u64)>) -> Result<Member> {
        let path = to_path(&entry.path);
        let id = |number: u64| {
            u32::try_from(number).map_err(|_| refused(&path, "its owner is too large"))
        };
        let seconds = i64::try_from(entry.mtime).unwrap_or(0);
        let plain = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut times = Timestamps { last_access: plain, last_modification: plain };
        let mut xattrs = Vec::new();
        let mut is_socket = false;
        for record in entry.pax.map(PaxExtensions::new).into_iter().flatten() {
            let record = record.map_err(garbled)?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            if let Some(name) = key.strip_prefix(XATTR_PREFIX.as_bytes()) {
                xattrs.push((name.to_vec(), value.to_vec()));
            }
            match key {
                b"mtime" => times.last_modification = parse_time(value).unwrap_or(plain),
                b"atime" => times.last_access = parse_time(value).unwrap_or(plain),
                _ if key == SOCKET_RECORD.as_bytes() => is_socket = true,
                _ => {}
            }
        }
        Ok(Member {
            kind: entry.entry_type,
            link: entry.link_target.as_ref().map(|link| to_path(link)),
            mode: entry.mode,
            uid: id(entry.uid)?,
            gid: id(entry.gid)?,
            times,
            device: (entry.dev_major.unwrap_or(0), entry.dev_minor.unwrap_or(0)),
            xattrs,
            is_socket,
            stored_bytes: entry.size,
            sparse,
            path,
        })
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(bytes.to_vec()).into()
}

/// `-1.25` is a second and a quarter before 1970.
fn parse_time(text: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

fn garbled(reason: impl ToString) -> Error {
    Error::Archive { member: "the archive itself".into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970() {
        let time = |text: &str| {
            let time = parse_time(text.as_bytes()).unwrap();
            (time.tv_sec, time.tv_nsec)
        };
        assert_eq!(time("5.000000007"), (5, 7));
        assert_eq!(time("-0.5"), (-1, 500_000_000));
        assert_eq!(time("-2"), (-2, 0));
        assert!(parse_time(b"x").is_none());
    }
}
