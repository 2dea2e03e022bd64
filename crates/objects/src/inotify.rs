//! inotify(7): watches on inodes, frozen from fdinfo. Events that were not read are lost, which is told.

use std::{
    collections::HashMap,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use stasis_model::{FileKind, Inotify, InotifyWatch, OpenFile};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    thawing::Thawing,
};

/// Bits of a mask that can be given to inotify_add_watch(2).
const EVENTS: u32 = 0xfff | 0x0100_0000 | 0x0400_0000 | 0x8000_0000;

pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<FileKind> {
    let told = stasis_proctext::fdinfo::inotify(&open.info).map_err(|malformed| {
        Error::Unsupported { object: open.what(), reason: malformed.to_string() }
    })?;
    if let Some(reason) = loss(file_of(open)?) {
        gathering.loss(open.subject(), reason);
    }
    let mut watches = Vec::new();
    for watch in told {
        let path = find_path(open, &watch, gathering);
        if path.is_none() {
            let reason = format!("the file of its watch {} cannot be found by a path", watch.wd);
            gathering.obstacle(open.subject(), reason, None);
        }
        watches.push(InotifyWatch {
            wd: watch.wd,
            mask: watch.mask,
            ignored_mask: watch.ignored_mask,
            inode: watch.inode,
            device: watch.device,
            handle_type: watch.handle_type,
            handle: watch.handle,
            path,
        });
    }
    Ok(FileKind::Inotify(Inotify { watches }))
}

/// What of it is not kept, if anything.
pub fn loss(fd: BorrowedFd<'_>) -> Option<String> {
    let waiting = stasis_sys::ioctl::readable_bytes(fd).unwrap_or(0) > 0;
    waiting.then(|| "inotify events that were not yet read from it".into())
}

/// The kernel tells only the inode. It is opened by its handle where that works; otherwise, as on
/// overlay file systems, the places where watches usually are get searched.
fn find_path(
    open: &OpenFd,
    watch: &stasis_proctext::fdinfo::InotifyWatch,
    gathering: &mut Gathering,
) -> Option<PathBuf> {
    by_handle(open, watch).or_else(|| by_search(open, watch, gathering))
}

fn by_handle(open: &OpenFd, watch: &stasis_proctext::fdinfo::InotifyWatch) -> Option<PathBuf> {
    let root = format!("/proc/{}/root", open.pid);
    let mounts = std::fs::read(format!("/proc/{}/mountinfo", open.pid)).ok()?;
    let mounts = stasis_proctext::mountinfo::parse(&mounts).ok()?;
    let on_device = |mount: &&stasis_proctext::mountinfo::Mount| {
        mount.device.0 << 20 | mount.device.1 == watch.device
    };
    for mount in mounts.iter().filter(on_device) {
        let mountpoint = PathBuf::from(std::ffi::OsString::from_vec(mount.mountpoint.clone()));
        let at = PathBuf::from(&root).join(mountpoint.strip_prefix("/").unwrap_or(&mountpoint));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(directory) = rustix::fs::open(at, flags, Mode::empty()) else { continue };
        let handle = (watch.handle_type.cast_signed(), watch.handle.as_slice());
        let Ok(file) = stasis_sys::fcntl::open_by_handle(directory.as_fd(), handle) else {
            continue;
        };
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let found = as_seen_by(&link, &root)?;
        if same_inode(open.pid, &found, watch.inode) {
            return Some(found);
        }
    }
    None
}

/// A path as the task sees it.
fn as_seen_by(link: &std::path::Path, root: &str) -> Option<PathBuf> {
    let target = std::fs::read_link(root).ok()?;
    if target.as_os_str() == "/" {
        return Some(link.to_owned());
    }
    link.strip_prefix(&target).ok().map(|rest| PathBuf::from("/").join(rest))
}

fn same_inode(pid: i32, path: &std::path::Path, inode: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    let whole =
        PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path));
    std::fs::metadata(whole).is_ok_and(|found| found.ino() == inode)
}

fn by_search(
    open: &OpenFd,
    watch: &stasis_proctext::fdinfo::InotifyWatch,
    gathering: &mut Gathering,
) -> Option<PathBuf> {
    if gathering.inodes.is_empty() {
        gathering.inodes = index(open.pid);
    }
    gathering.inodes.get(&watch.inode).cloned()
}

/// Paths by inode below the places where configuration, data and temporary files lie.
fn index(pid: i32) -> HashMap<u64, PathBuf> {
    use std::os::unix::fs::DirEntryExt;
    const PLACES: [&str; 8] = ["etc", "tmp", "var", "srv", "home", "opt", "run", "root"];
    const MOST: usize = 200_000;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mut found = HashMap::new();
    let mut left: Vec<PathBuf> = Vec::from([PathBuf::from("/")]);
    left.extend(PLACES.iter().map(|place| PathBuf::from("/").join(place)));
    if let Ok(cwd) = std::fs::read_link(format!("/proc/{pid}/cwd")) {
        left.push(cwd);
    }
    while let Some(directory) = left.pop() {
        if found.len() > MOST {
            break;
        }
        let whole = root.join(directory.strip_prefix("/").unwrap_or(&directory));
        if let Ok(metadata) = std::fs::symlink_metadata(&whole) {
            use std::os::unix::fs::MetadataExt;
            found.entry(metadata.ino()).or_insert_with(|| directory.clone());
        }
        let Ok(entries) = std::fs::read_dir(&whole) else { continue };
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && directory.as_os_str() != "/" {
                left.push(path.clone());
            }
            found.entry(entry.ino()).or_insert(path);
        }
    }
    found
}

pub fn thaw(inotify: &Inotify, file: &OpenFile, thawing: &Thawing) -> Result<OwnedFd> {
    let what = "inotify";
    let made = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC)
        .map_err(Error::at(what, "inotify_init1"))?;
    // The kernel counts watches up, so the lowest goes first.
    let mut watches: Vec<&InotifyWatch> = inotify.watches.iter().collect();
    watches.sort_by_key(|watch| watch.wd);
    for watch in watches {
        let Some(path) = &watch.path else {
            let reason = format!("watch {} has no path", watch.wd);
            return Err(Error::Unsupported { object: what.into(), reason });
        };
        let object = format!("inotify watch of {}", path.display());
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative =
            if relative.as_os_str().is_empty() { std::path::Path::new(".") } else { relative };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let target = stasis_sys::openat2::open(
            thawing.root(),
            relative,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )
        .map_err(Error::at(&object, "open"))?;
        stasis_sys::ioctl::set_next_watch(made.as_fd(), watch.wd)
            .map_err(Error::at(&object, "ioctl(INOTIFY_IOC_SETNEXTWD)"))?;
        let by_fd = format!("/proc/self/fd/{}", target.as_raw_fd());
        let mask = rustix::fs::inotify::WatchFlags::from_bits_retain(watch.mask & EVENTS);
        let wd = rustix::fs::inotify::add_watch(&made, by_fd, mask)
            .map_err(Error::at(&object, "inotify_add_watch"))?;
        if wd.cast_unsigned() != watch.wd {
            let reason = format!("it got number {wd} instead of {}", watch.wd);
            return Err(Error::Changed { object, reason });
        }
    }
    stasis_sys::fcntl::set_status_flags(made.as_fd(), file.flags)
        .map_err(Error::at(what, "F_SETFL"))?;
    Ok(made)
}
