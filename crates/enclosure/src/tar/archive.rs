//! Archives of files that are not unpacked but looked through, such as those of images.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use tar_core::{EntryType, builder::EntryBuilder};

use super::{
    member::{Member, refused},
    padding,
    source::{Ending, Source},
};
use crate::error::{Context, Result};

/// Reads an archive member by member, in constant memory.
pub struct Reader<'a> {
    source: Source<'a>,
    /// Of the last member's contents, and what fills their last block.
    unread: (u64, u64),
}

/// A member of an archive, by a path that stays below its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: PathBuf,
    pub kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File {
        len_bytes: u64,
    },
    /// Another name of the member at this path, which may leave the archive.
    Link(PathBuf),
    /// Directories and what else has no contents.
    Other,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a mut dyn Read) -> Reader<'a> {
        Reader { source: Source::new(input, Ending::Bare), unread: (0, 0) }
    }

    /// The next member, `None` at the end. What is unread of the last one is passed over.
    ///
    /// # Errors
    /// [`crate::Error::Archive`] if the archive is garbled or a name leads out of it.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.source.skip(self.unread.0)?;
        self.source.skip(self.unread.1)?;
        self.unread = (0, 0);
        let Some(member) = self.source.next_member()? else { return Ok(None) };
        self.unread = (member.stored_bytes, padding(member.stored_bytes));
        Ok(Some(Entry { path: member.inner_path()?, kind: kind(&member)? }))
    }

    /// Writes the contents of the last member to `out`.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the stream or by `out`, [`crate::Error::Archive`] if it was cut.
    pub fn copy(&mut self, out: &mut dyn Write) -> Result<()> {
        self.source.copy(self.unread.0, out, Path::new("the contents of a member"))?;
        self.unread.0 = 0;
        Ok(())
    }
}

fn kind(member: &Member) -> Result<EntryKind> {
    Ok(match member.kind {
        EntryType::Regular | EntryType::Continuous if member.sparse.is_none() => {
            EntryKind::File { len_bytes: member.stored_bytes }
        }
        EntryType::Regular | EntryType::GnuSparse => {
            return Err(refused(&member.path, "it has holes, which nobody expects here"));
        }
        EntryType::Link => EntryKind::Link(member.hard_link_target()?),
        EntryType::Symlink => {
            let beside = member.inner_path()?;
            let target = member.link.clone().unwrap_or_default();
            EntryKind::Link(resolve(beside.parent().unwrap_or(Path::new("")), &target))
        }
        _ => EntryKind::Other,
    })
}

/// Where a symbolic link leads, by its text alone; a path with `..` left in it is nobody's.
fn resolve(dir: &Path, target: &Path) -> PathBuf {
    use std::path::Component;
    let mut path = dir.to_owned();
    for part in target.components() {
        match part {
            // Above the root there is nothing to go up from.
            Component::ParentDir if ends_in_name(&path) => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

fn ends_in_name(path: &Path) -> bool {
    matches!(path.components().next_back(), Some(std::path::Component::Normal(_)))
}

/// Writes an archive of files one after the other.
pub struct Writer<W: Write> {
    out: W,
    stamp: Stamp,
}

/// What all files of an archive have.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    file_mode: u32,
    directory_mode: u32,
    /// Seconds since 1970.
    time: u64,
}

impl<W: Write> Writer<W> {
    /// What it writes depends on names and contents alone.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, stamp: Stamp { file_mode: 0o644, directory_mode: 0o755, time: 0 } }
    }

    /// Nobody but their owner may read the files; `time` is theirs, in seconds since 1970.
    pub fn private(out: W, time: u64) -> Writer<W> {
        Writer { out, stamp: Stamp { file_mode: 0o600, directory_mode: 0o700, time } }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the stream.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.header(&format!("{path}/"), EntryType::Directory, 0)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the stream.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let mut entry = EntryBuilder::new_ustar();
        entry.link_name(target);
        self.write_header(entry, path, EntryType::Symlink, 0)
    }

    /// Adds a file of exactly `len_bytes`.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the streams, [`crate::Error::Archive`] if `content` is shorter.
    pub fn file(&mut self, path: &str, len_bytes: u64, content: &mut dyn Read) -> Result<()> {
        self.header(path, EntryType::Regular, len_bytes)?;
        let copied = std::io::copy(&mut content.take(len_bytes), &mut self.out);
        if copied.context("write", path)? < len_bytes {
            return Err(refused(Path::new(path), "it is shorter than it should be"));
        }
        let zeros = [0; super::BLOCK_BYTES as usize];
        let fill = usize::try_from(padding(len_bytes)).unwrap_or(0);
        self.out.write_all(&zeros[..fill]).context("write", path)
    }

    fn header(&mut self, path: &str, kind: EntryType, len_bytes: u64) -> Result<()> {
        self.write_header(EntryBuilder::new_ustar(), path, kind, len_bytes)
    }

    fn write_header(
        &mut self,
        mut entry: EntryBuilder,
        path: &str,
        kind: EntryType,
        len_bytes: u64,
    ) -> Result<()> {
        let Stamp { file_mode, directory_mode, time } = self.stamp;
        let mode = if kind == EntryType::Directory { directory_mode } else { file_mode };
        let fill = || -> std::result::Result<Vec<u8>, tar_core::HeaderError> {
            entry.path(path).entry_type(kind);
            entry.mode(mode)?.uid(0)?.gid(0)?.size(len_bytes)?.mtime(time)?;
            Ok(entry.finish_bytes())
        };
        let header = { fill }().map_err(|error| refused(Path::new(path), error))?;
        self.out.write_all(&header).context("write", path)
    }

    /// Writes the end, and gives the stream back.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the stream.
    pub fn finish(mut self) -> Result<W> {
        self.out.write_all(&[0; 1024]).context("write", "the end of the archive")?;
        self.out.flush().context("write", "the end of the archive")?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("d").unwrap();
        writer.file("d/a", 5, &mut &b"hello"[..]).unwrap();
        writer.file("b", 600, &mut std::io::repeat(7)).unwrap();
        let archive = writer.finish().unwrap();
        let mut input = archive.as_slice();
        let mut reader = Reader::new(&mut input);
        let entry = |path: &str, kind| Some(Entry { path: path.into(), kind });
        assert_eq!(reader.next_entry().unwrap(), entry("d", EntryKind::Other));
        assert_eq!(reader.next_entry().unwrap(), entry("d/a", EntryKind::File { len_bytes: 5 }));
        assert_eq!(reader.next_entry().unwrap(), entry("b", EntryKind::File { len_bytes: 600 }));
        let mut content = Vec::new();
        reader.copy(&mut content).unwrap();
        assert_eq!(content, [7; 600]);
        assert_eq!(reader.next_entry().unwrap(), None);
    }

    #[test]
    fn a_file_that_is_too_short_is_told() {
        assert!(Writer::new(Vec::new()).file("short", 2, &mut &b"x"[..]).is_err());
    }

    #[test]
    fn links_are_resolved_by_their_text() {
        let check = |dir: &str, target: &str, expect: &str| {
            assert_eq!(resolve(Path::new(dir), Path::new(target)), Path::new(expect));
        };
        check("a", "../b.tar", "b.tar");
        check("a", "./c", "a/c");
        check("", "../../etc", "../../etc");
        check("a", "/etc", "/etc");
    }
}
