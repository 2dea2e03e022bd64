//! A directory tree as one tar stream, and back: what a container changed in its root file system.
//!
//! The format is pax (POSIX.1-2001). What a tar cannot say by itself stands in its records: times in
//! nanoseconds, extended attributes under `SCHILY.xattr.`, holes as GNU tar 1.0 writes them. Overlay
//! whiteouts are character devices 0/0 and stay so. A socket is written as a FIFO with a record of
//! ours.

mod pack;
mod unpack;

pub use pack::pack;
pub use unpack::{unpack, unpack_layer};

/// Marks a FIFO that was a socket.
const SOCKET_RECORD: &str = "STASIS.socket";
const XATTR_PREFIX: &str = "SCHILY.xattr.";
const BLOCK_BYTES: u64 = 512;

/// Zeros that fill the last block of `len_bytes`.
fn padding(len_bytes: u64) -> u64 {
    len_bytes.next_multiple_of(BLOCK_BYTES) - len_bytes
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{
            fs::{FileExt, MetadataExt, PermissionsExt, symlink},
            net::UnixListener,
        },
        path::Path,
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn through(dir: &Path) -> tempfile::TempDir {
        let mut archive = Vec::new();
        pack(dir, &mut archive).unwrap();
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
        pack(dir.path(), &mut archive).unwrap();
        assert!(archive.len() < 1 << 20, "{}", archive.len());
        let target = through(dir.path());
        let meta = |name: &str| fs::metadata(target.path().join(name)).unwrap();
        assert_eq!(meta("a").ino(), meta("b").ino());
        assert!(meta("a").blocks() < 100);
        let read = |root: &Path| fs::read(root.join("a")).unwrap();
        assert!(read(dir.path()) == read(target.path()));
    }

    fn hostile(path: &str, kind: tar_core::EntryType, link: &str) -> Vec<u8> {
        let mut entry = tar_core::builder::EntryBuilder::new_ustar();
        entry.path(path).entry_type(kind);
        entry.mode(0o644).unwrap().uid(0).unwrap().gid(0).unwrap();
        entry.size(0).unwrap().mtime(0).unwrap();
        if !link.is_empty() {
            entry.link_name(link);
        }
        entry.finish_bytes()
    }

    fn refused(archive: &[u8]) {
        let outer = tempfile::tempdir().unwrap();
        let target = outer.path().join("target");
        fs::create_dir(&target).unwrap();
        assert!(unpack(&mut &archive[..], &target).is_err());
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    }

    #[test]
    fn hostile_names_are_refused() {
        use tar_core::EntryType;
        refused(&hostile("../evil", EntryType::Regular, ""));
        refused(&hostile("/evil", EntryType::Regular, ""));
        refused(&hostile("a/../../evil", EntryType::Regular, ""));
        let mut via_link = hostile("l", EntryType::Symlink, "..");
        via_link.extend(hostile("l/evil", EntryType::Regular, ""));
        refused(&via_link);
        refused(&hostile("h", EntryType::Link, "../../etc/passwd"));
    }

    #[test]
    fn cut_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), vec![7; 5000]).unwrap();
        let mut archive = Vec::new();
        pack(dir.path(), &mut archive).unwrap();
        for len in [100, 700, 3000, archive.len() - 1024] {
            let target = tempfile::tempdir().unwrap();
            assert!(unpack(&mut &archive[..len], target.path()).is_err(), "{len}");
        }
    }
}
