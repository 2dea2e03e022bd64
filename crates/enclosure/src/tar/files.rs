//! Unpacking archives that may hold nothing but files and directories, such as those of checkpoints.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tar_core::EntryType;

use super::{
    member::{Member, garbled, refused},
    source::{Ending, Source},
};
use crate::error::{Context, Result};

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesLimits {
    pub max_files: u64,
    /// All files together.
    pub max_bytes: u64,
}

/// Unpacks an archive of files and directories into the empty directory `target`; only their owner
/// may read them. Symbolic links that `is_known` (path and what it says) are passed over.
///
/// # Errors
/// [`crate::Error::Archive`] for a member that leads out of `target`, stands there twice, or is neither
/// file nor directory, and for more than is allowed. [`crate::Error::Refused`] by the file system.
pub fn unpack_files(
    input: &mut dyn Read,
    target: &Path,
    limits: FilesLimits,
    is_known: fn(&Path, &Path) -> bool,
) -> Result<()> {
    let mut source = Source::new(input, Ending::Marked);
    let (mut files, mut bytes) = (0u64, 0u64);
    let mut made = BTreeSet::new();
    while let Some(member) = source.next_member()? {
        let path = member.inner_path()?;
        if path.as_os_str().is_empty() {
            continue;
        }
        files += 1;
        bytes = bytes.saturating_add(member.stored_bytes);
        if files > limits.max_files || bytes > limits.max_bytes {
            return Err(garbled(format!(
                "it holds more than {} files or {} bytes",
                limits.max_files, limits.max_bytes
            )));
        }
        make_directories(target, &path, &mut made)?;
        match member.kind {
            EntryType::Directory => make_directory(target, &path, &mut made)?,
            EntryType::Regular | EntryType::Continuous if member.sparse.is_none() => {
                make_file(&mut source, &member, &target.join(&path))?;
            }
            EntryType::Symlink
                if member.link.as_ref().is_some_and(|link| is_known(&path, link)) => {}
            other => return Err(refused(&path, format!("it is of kind {other:?}, not a file"))),
        }
    }
    Ok(())
}

/// Those above `path`. Only what was made here is entered, so no link can lead elsewhere.
fn make_directories(target: &Path, path: &Path, made: &mut BTreeSet<PathBuf>) -> Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    let above = above.into_iter().rev().filter(|dir| !dir.as_os_str().is_empty());
    above.into_iter().try_for_each(|dir| make_directory(target, dir, made))
}

fn make_directory(target: &Path, path: &Path, made: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !made.insert(path.to_owned()) {
        return Ok(());
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(target.join(path))
        .context("make directory", path.display())
}

fn make_file(source: &mut Source<'_>, member: &Member, path: &Path) -> Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .context("make", path.display())?;
    source.copy(member.stored_bytes, &mut file, &member.path)?;
    source.skip_padding(member.stored_bytes)
}

#[cfg(test)]
mod tests {
    use tar_core::builder::EntryBuilder;

    use super::*;
    use crate::tar::Writer;

    const LIMITS: FilesLimits = FilesLimits { max_files: 10, max_bytes: 1000 };

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::private(Vec::new(), 7);
        for (name, content) in files {
            writer.file(name, content.len() as u64, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn is_known(path: &Path, link: &Path) -> bool {
        path == Path::new("d/l") && link == Path::new("../e")
    }

    fn check(archive: &[u8], expect: &str) {
        let outer = tempfile::tempdir().unwrap();
        let target = outer.path().join("target");
        fs::create_dir(&target).unwrap();
        let refused = unpack_files(&mut &archive[..], &target, LIMITS, is_known);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expect), "{refused}");
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "something lies outside");
    }

    #[test]
    fn files_come_back() {
        let archive = archive(&[("a", b"one"), ("d/e/b", b"two")]);
        let target = tempfile::tempdir().unwrap();
        unpack_files(&mut archive.as_slice(), target.path(), LIMITS, is_known).unwrap();
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"one");
        assert_eq!(fs::read(target.path().join("d/e/b")).unwrap(), b"two");
    }

    #[test]
    fn known_links_are_not_made() {
        let linked = |path: &str, link: &str| {
            let mut writer = Writer::private(Vec::new(), 7);
            writer.link(path, link).unwrap();
            writer.finish().unwrap()
        };
        let target = tempfile::tempdir().unwrap();
        let known = linked("d/l", "../e");
        unpack_files(&mut known.as_slice(), target.path(), LIMITS, is_known).unwrap();
        assert!(target.path().join("d").is_dir() && !target.path().join("d/l").is_symlink());
        check(&linked("d/l", "../../e"), "not a file");
        check(&linked("l", "../e"), "not a file");
    }

    #[test]
    fn what_is_hostile_is_refused() {
        check(&archive(&[("../evil", b"x")]), "has a ..");
        check(&archive(&[("/evil", b"x")]), "absolute");
        check(&archive(&[("a", b"x"), ("a", b"y")]), "cannot make");
        check(&archive(&[("a", b"x"), ("a/b", b"y")]), "cannot make directory");
        check(&archive(&[("a", &[0; 2000])]), "more than");
        let whole = archive(&[("a", &[7; 600])]);
        check(&whole[..900], "ends too early");
        let mut link = EntryBuilder::new_ustar();
        link.path("l").entry_type(EntryType::Symlink).link_name("/etc");
        link.mode(0o777).unwrap().uid(0).unwrap().gid(0).unwrap();
        link.size(0).unwrap().mtime(0).unwrap();
        check(&link.finish_bytes(), "not a file");
    }
}
