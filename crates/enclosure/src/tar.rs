//! A directory tree as one tar stream, and back: what a container changed in its root file system,
//! and the layers of images.
//!
//! The format is pax (POSIX.1-2001). What a tar cannot say by itself stands in its records: times in
//! nanoseconds, extended attributes under `SCHILY.xattr.`, holes as GNU tar 1.0 writes them. What a
//! name hides in the layers below is told in one of two ways, and a little more differs: see [`Form`].
//!
//! Whatever the form, a stream that is unpacked is hostile until it has proved otherwise. A member
//! whose name is absolute or has a `..` is refused (Docker would clean the former; no tool that makes
//! images writes them), and so is one whose directory is reached through a symbolic link. Devices are
//! made, since images may have them; what may be used in a container its control group decides.

mod archive;
mod beneath;
mod describe;
mod files;
mod inherited;
mod member;
mod pack;
mod source;
mod unpack;

pub use archive::{Entry, EntryKind, Reader, Writer};
pub use describe::{Described, Essence, describe};
pub use files::{FilesLimits, unpack_files};
pub use pack::{pack, pack_changes, pack_one};
pub use unpack::{Layer, Owners, Unpacked, unpack, unpack_among, unpack_layer, unpack_over};

/// What a stream means beyond plain files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The upper directory of an overlay, exactly: whiteouts are character devices 0/0, an opaque
    /// directory has overlayfs' attribute, times of access are kept, a socket is a FIFO with a record
    /// of ours.
    Exact,
    /// The same, as archives of checkpoints have it, which others can read too: what is hidden of the
    /// layers below stands in records of the directory that hides it.
    Changes,
    /// A layer by the OCI image-spec: whiteouts are files named `.wh.NAME`, an opaque directory holds
    /// `.wh..wh..opq`. Of the root itself nothing is said, nor of times of access, so that the same
    /// content gives the same stream. Sockets are left out, as by Docker: without their listener they
    /// are nothing.
    Layer,
    /// A directory as `cp` and `export` give it: as a layer, but every name means itself.
    Plain,
}

/// Marks a FIFO that was a socket.
const SOCKET_RECORD: &str = "STASIS.socket";
/// Names that a directory hides of the layers below, each followed by a slash.
const WHITEOUTS_RECORD: &str = "STASIS.whiteouts";
/// Marks a directory that hides all of the layers below.
const OPAQUE_RECORD: &str = "STASIS.opaque";
const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Attributes that only we take.
const OWN_XATTR_PREFIX: &str = "STASIS.xattr.";
/// Attributes by which overlayfs keeps its own state in upper directories.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Of members that AUFS kept for itself, of which one has a meaning in layers.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_MEMBER: &[u8] = b".wh..wh..opq";
const BLOCK_BYTES: u64 = 512;
const END_OF_ARCHIVE: [u8; 1024] = [0; 1024];

/// Zeros that fill the last block of `len_bytes`.
fn padding(len_bytes: u64) -> u64 {
    len_bytes.checked_next_multiple_of(BLOCK_BYTES).map_or(0, |whole| whole - len_bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{
            fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink},
            net::UnixListener,
        },
        path::{Path, PathBuf},
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tar_core::EntryType;

    use super::*;

    fn through(dir: &Path) -> tempfile::TempDir {
        let mut archive = Vec::new();
        pack(dir, Form::Exact, &mut archive).unwrap();
        let target = tempfile::tempdir().unwrap();
        unpack(&mut archive.as_slice(), target.path()).unwrap();
        target
    }

    #[test]
    fn contents_modes_owners_and_times_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let long = "d".repeat(120);
        fs::create_dir(dir.path().join(&long)).unwrap();
        let file = dir.path().join(&long).join("f");
        fs::write(&file, "hello").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(&file, Some(1234), Some(0x20_0001)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
        xattr::set(&file, "user.line", b"a\nb=c").unwrap();
        xattr::set(dir.path(), "trusted.overlay.opaque", b"y").unwrap();
        symlink("../nowhere", dir.path().join("link")).unwrap();
        let target = through(dir.path());
        let back = target.path().join(&long).join("f");
        let (a, b) = (fs::metadata(&file).unwrap(), fs::metadata(&back).unwrap());
        assert_eq!(fs::read(&back).unwrap(), b"hello");
        assert_eq!((a.mode(), a.uid(), a.gid()), (b.mode(), b.uid(), b.gid()));
        assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()));
        assert_eq!(xattr::get(&back, "user.line").unwrap().unwrap(), b"a\nb=c");
        assert_eq!(xattr::get(target.path(), "trusted.overlay.opaque").unwrap().unwrap(), b"y");
        assert_eq!(fs::read_link(target.path().join("link")).unwrap(), Path::new("../nowhere"));
        let dir_time = |root: &Path| fs::metadata(root.join(&long)).unwrap().mtime_nsec();
        assert_eq!(dir_time(dir.path()), dir_time(target.path()));
    }

    #[test]
    fn changes_hide_what_they_hid_and_say_so() {
        let lower = tempfile::tempdir().unwrap();
        for name in ["d/old", "d/kept", "gone", "o/inner/x"] {
            fs::create_dir_all(lower.path().join(name).parent().unwrap()).unwrap();
            fs::write(lower.path().join(name), "").unwrap();
        }
        let upper = tempfile::tempdir().unwrap();
        fs::create_dir(upper.path().join("d")).unwrap();
        fs::create_dir(upper.path().join("o")).unwrap();
        fs::write(upper.path().join("o/new"), "").unwrap();
        xattr::set(upper.path().join("o"), OPAQUE_ATTRIBUTE, b"y").unwrap();
        xattr::set(upper.path().join("o/new"), "trusted.overlay.origin", b"handle").unwrap();
        for name in ["d/old", "gone"] {
            let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
            mknodat(CWD, upper.path().join(name), kind, mode, 0).unwrap();
        }
        let mut archive = Vec::new();
        let below = [lower.path().to_owned()];
        let hidden = pack_changes(upper.path(), &below, &mut archive).unwrap();
        assert_eq!(hidden, ["d/old", "gone", "o/inner"].map(PathBuf::from));
        let target = tempfile::tempdir().unwrap();
        unpack(&mut archive.as_slice(), target.path()).unwrap();
        for name in ["d/old", "gone"] {
            let meta = fs::symlink_metadata(target.path().join(name)).unwrap();
            assert!(meta.file_type().is_char_device() && meta.rdev() == 0, "{name}");
        }
        let attribute = |name: &str, key| xattr::get(target.path().join(name), key).unwrap();
        assert_eq!(attribute("o", OPAQUE_ATTRIBUTE).unwrap(), b"y");
        assert_eq!(attribute("o/new", "trusted.overlay.origin").unwrap(), b"handle");
        let time = |dir: &Path| fs::metadata(dir.join("d")).unwrap().mtime_nsec();
        assert_eq!(time(upper.path()), time(target.path()));
        // Whoever knows nothing of our records sees neither devices nor attributes of overlayfs.
        let names = String::from_utf8_lossy(&archive);
        assert!(!names.contains("SCHILY.xattr.trusted.overlay"));
    }

    #[test]
    fn special_files_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, kind| {
            mknodat(CWD, dir.path().join(name), kind, Mode::from(0o600), 0).unwrap();
        };
        make("whiteout", FileType::CharacterDevice);
        make("fifo", FileType::Fifo);
        let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let target = through(dir.path());
        for name in ["whiteout", "fifo", "socket"] {
            let (a, b) = (dir.path().join(name), target.path().join(name));
            let (a, b) = (fs::symlink_metadata(a).unwrap(), fs::symlink_metadata(b).unwrap());
            assert_eq!((a.mode(), a.rdev()), (b.mode(), b.rdev()), "{name}");
        }
    }

    #[test]
    fn hard_links_stay_one_file_and_holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("a")).unwrap();
        file.write_all_at(b"x", 5 << 20).unwrap();
        file.write_all_at(b"y", 1 << 20).unwrap();
        file.set_len(9 << 20).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let mut archive = Vec::new();
        pack(dir.path(), Form::Exact, &mut archive).unwrap();
        assert!(archive.len() < 1 << 20, "{}", archive.len());
        let target = through(dir.path());
        let meta = |name: &str| fs::metadata(target.path().join(name)).unwrap();
        assert_eq!(meta("a").ino(), meta("b").ino());
        assert!(meta("a").blocks() < 100);
        let read = |root: &Path| fs::read(root.join("a")).unwrap();
        assert!(read(dir.path()) == read(target.path()));
    }

    struct Member<'a> {
        path: &'a str,
        kind: EntryType,
        link: &'a str,
        content: &'a str,
        xattr: Option<(&'a str, &'a str)>,
        device: (u32, u32),
    }

    fn member<'a>(path: &'a str, kind: EntryType) -> Member<'a> {
        Member { path, kind, link: "", content: "", xattr: None, device: (0, 0) }
    }

    fn file<'a>(path: &'a str, content: &'a str) -> Member<'a> {
        Member { content, ..member(path, EntryType::Regular) }
    }

    fn link<'a>(path: &'a str, kind: EntryType, link: &'a str) -> Member<'a> {
        Member { link, ..member(path, kind) }
    }

    fn archive(members: &[Member<'_>]) -> Vec<u8> {
        let mut archive = Vec::new();
        for member in members {
            let mut entry = tar_core::builder::EntryBuilder::new_ustar();
            entry.path(member.path).entry_type(member.kind);
            entry.mode(0o644).unwrap().uid(0).unwrap().gid(0).unwrap();
            entry.size(member.content.len() as u64).unwrap().mtime(0).unwrap();
            if !member.link.is_empty() {
                entry.link_name(member.link);
            }
            if let Some((name, value)) = member.xattr {
                entry.add_pax(&format!("{XATTR_PREFIX}{name}"), value);
            }
            if matches!(member.kind, EntryType::Char | EntryType::Block) {
                entry.device(member.device.0, member.device.1).unwrap();
            }
            archive.extend(entry.finish_bytes());
            archive.extend(member.content.as_bytes());
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    fn layer_on(
        members: &[Member<'_>],
        below: &[PathBuf],
    ) -> (tempfile::TempDir, Result<Unpacked, crate::Error>) {
        let target = tempfile::tempdir().unwrap();
        let limits = Layer { below, max_members: 100 };
        let unpacked = unpack_layer(&mut archive(members).as_slice(), target.path(), limits);
        (target, unpacked)
    }

    fn layer(members: &[Member<'_>]) -> tempfile::TempDir {
        let (target, unpacked) = layer_on(members, &[]);
        unpacked.unwrap();
        target
    }

    fn is_whiteout(path: &Path) -> bool {
        let meta = fs::symlink_metadata(path).unwrap();
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    fn is_opaque(path: &Path) -> bool {
        xattr::get(path, OPAQUE_ATTRIBUTE).unwrap().as_deref() == Some(b"y")
    }

    #[test]
    fn whiteouts_of_layers_become_those_of_overlays_and_back() {
        let target = layer(&[
            file("d/.wh.gone", ""),
            file("d/.wh..wh..opq", ""),
            file("d/new", "x"),
            file(".wh..wh.aufs", ""),
        ]);
        assert!(is_whiteout(&target.path().join("d/gone")) && is_opaque(&target.path().join("d")));
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
        let mut again = Vec::new();
        pack(target.path(), Form::Layer, &mut again).unwrap();
        let back = tempfile::tempdir().unwrap();
        let limits = Layer { below: &[], max_members: 100 };
        assert_eq!(unpack_layer(&mut again.as_slice(), back.path(), limits).unwrap().nr_members, 4);
        assert!(is_whiteout(&back.path().join("d/gone")) && is_opaque(&back.path().join("d")));
        let mut third = Vec::new();
        pack(back.path(), Form::Layer, &mut third).unwrap();
        assert!(again == third);
    }

    #[test]
    fn a_whiteout_hides_only_what_lies_below() {
        for members in [[file(".wh.f", ""), file("f", "x")], [file("f", "x"), file(".wh.f", "")]] {
            assert_eq!(fs::read(layer(&members).path().join("f")).unwrap(), b"x");
        }
        let dir = || member("d", EntryType::Directory);
        for members in [[file(".wh.d", ""), dir()], [dir(), file(".wh.d", "")]] {
            assert!(is_opaque(&layer(&members).path().join("d")));
        }
    }

    #[test]
    fn the_later_of_two_members_wins() {
        let target = layer(&[file("a", "1"), file("a", "2")]);
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"2");
        let target = layer(&[file("a/b/c", "1"), file("a", "2")]);
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"2");
        let target = layer(&[file("a", "1"), member("a", EntryType::Directory), file("a/b", "2")]);
        assert_eq!(fs::read(target.path().join("a/b")).unwrap(), b"2");
        let target = layer(&[file("a/b", "1"), member("a", EntryType::Directory)]);
        assert_eq!(fs::read(target.path().join("a/b")).unwrap(), b"1");
        let target = layer(&[
            link("l", EntryType::Symlink, "/etc"),
            member("l", EntryType::Directory),
            file("l/x", "1"),
        ]);
        assert_eq!(fs::read(target.path().join("l/x")).unwrap(), b"1");
    }

    #[test]
    fn directories_that_are_not_told_of_are_as_below() {
        let below = layer(&[file("a/b/c", "")]);
        let dir = below.path().join("a");
        std::os::unix::fs::chown(&dir, Some(7), Some(8)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o1750)).unwrap();
        xattr::set(&dir, "trusted.own", b"v").unwrap();
        let (target, unpacked) = layer_on(&[file("a/x", "")], &[below.path().to_owned()]);
        unpacked.unwrap();
        let (old, new) =
            (fs::metadata(&dir).unwrap(), fs::metadata(target.path().join("a")).unwrap());
        assert_eq!((new.uid(), new.gid(), new.mode()), (7, 8, old.mode()));
        assert_eq!((new.mtime(), new.mtime_nsec()), (old.mtime(), old.mtime_nsec()));
        assert_eq!(xattr::get(target.path().join("a"), "trusted.own").unwrap().unwrap(), b"v");
    }

    #[test]
    fn attributes_of_overlayfs_do_not_come_from_layers() {
        let redirect = Some(("trusted.overlay.redirect", "/../../etc"));
        let target = layer(&[Member { xattr: redirect, ..member("d", EntryType::Directory) }]);
        assert_eq!(xattr::list(target.path().join("d")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_layer_cannot_say_is_refused() {
        let packed = |dir: &Path| pack(dir, Form::Layer, &mut Vec::new());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".wh.x"), "").unwrap();
        assert!(packed(dir.path()).is_err());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        xattr::set(dir.path().join("d"), "trusted.overlay.redirect", b"e").unwrap();
        assert!(packed(dir.path()).is_err());
    }

    #[test]
    fn a_tree_is_added_to_another() {
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join("a"), "old").unwrap();
        fs::write(target.path().join("b"), "kept").unwrap();
        let archive = archive(&[file("a", "new"), file(".wh.b", "")]);
        unpack_over(&mut archive.as_slice(), target.path()).unwrap();
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"new");
        assert!(target.path().join("b").exists() && target.path().join(".wh.b").exists());
    }

    #[test]
    fn among_others_a_file_takes_the_place_of_files_only() {
        let target = tempfile::tempdir().unwrap();
        fs::create_dir(target.path().join("d")).unwrap();
        fs::write(target.path().join("a"), "old").unwrap();
        let add = |archive: &[u8]| {
            unpack_among(&mut &archive[..], target.path(), Owners::One(1234, 99)).map(drop)
        };
        add(&archive(&[file("a", "new"), file("d/b", "in it")])).unwrap();
        let meta = fs::metadata(target.path().join("d/b")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 99));
        let error = add(&archive(&[file("d", "")])).unwrap_err().to_string();
        assert!(error.contains("already is a directory"), "{error}");
        assert!(add(&archive(&[file("a/b", "")])).is_err());
        assert_eq!(fs::read(target.path().join("a")).unwrap(), b"new");
    }

    /// Refused by name in both forms, and nothing is written beside the target.
    fn refused(members: &[Member<'_>], name: &str) {
        for form in [Form::Exact, Form::Layer] {
            let outer = tempfile::tempdir().unwrap();
            let target = outer.path().join("target");
            fs::create_dir(&target).unwrap();
            let archive = archive(members);
            let limits = Layer { below: &[], max_members: 10 };
            let done = match form {
                Form::Exact => unpack(&mut archive.as_slice(), &target),
                _ => unpack_layer(&mut archive.as_slice(), &target, limits).map(drop),
            };
            let error = done.unwrap_err();
            let is_named = matches!(&error, crate::Error::Archive { member, .. } if member == name);
            assert!(is_named, "{form:?}: {error}");
            assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        refused(&[file("../evil", "")], "../evil");
        refused(&[file("/evil", "")], "/evil");
        refused(&[file("a/../../evil", "")], "a/../../evil");
        refused(&[link("l", EntryType::Symlink, ".."), file("l/evil", "")], "l");
        refused(&[link("l", EntryType::Symlink, "/tmp"), file("l/a/evil", "")], "l/a");
        refused(&[link("h", EntryType::Link, "../../etc/passwd")], "h");
        refused(&[link("h", EntryType::Link, "/etc/passwd")], "h");
        refused(&[link("h", EntryType::Link, "h")], "h");
        refused(
            &[link("l", EntryType::Symlink, "/etc"), link("h", EntryType::Link, "l/passwd")],
            "h",
        );
        refused(&[file(".", "")], ".");
    }

    #[test]
    fn hostile_layers_are_refused() {
        let refused = |members: &[Member<'_>], name: &str| {
            let (_, unpacked) = layer_on(members, &[]);
            let error = unpacked.unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        };
        refused(&[file(".wh...", "")], ".wh...");
        refused(&[file(".wh..", "")], ".wh..");
        refused(&[file("d/.wh.", "")], "d/.wh.");
        refused(&[file("../.wh.etc", "")], "../.wh.etc");
        refused(&[member("null", EntryType::Char)], "null");
        let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        refused(
            &many.iter().map(|name| file(name, "")).collect::<Vec<_>>(),
            "more than 100 members",
        );
    }

    #[test]
    fn devices_and_links_to_outside_are_made_as_they_are() {
        let null = Member { device: (1, 3), ..member("null", EntryType::Char) };
        let target = layer(&[null, link("l", EntryType::Symlink, "../../../etc")]);
        assert_eq!(fs::symlink_metadata(target.path().join("null")).unwrap().rdev(), 0x103);
        assert_eq!(fs::read_link(target.path().join("l")).unwrap(), Path::new("../../../etc"));
    }

    #[test]
    fn a_layer_may_end_without_a_mark() {
        let archive = archive(&[file("a", "1")]);
        let unpacked = |archive: &[u8]| {
            let target = tempfile::tempdir().unwrap();
            let limits = Layer { below: &[], max_members: 10 };
            unpack_layer(&mut &*archive, target.path(), limits)
        };
        assert_eq!(unpacked(&archive[..1024]).unwrap().size_bytes, 1);
        assert!(unpacked(&archive[..1023]).is_err() && unpacked(&archive[..513]).is_err());
    }

    #[test]
    fn cut_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), vec![7; 5000]).unwrap();
        let mut archive = Vec::new();
        pack(dir.path(), Form::Exact, &mut archive).unwrap();
        for len in [100, 700, 3000, archive.len() - 1024] {
            let target = tempfile::tempdir().unwrap();
            assert!(unpack(&mut &archive[..len], target.path()).is_err(), "{len}");
        }
    }
}
