//! openat2(2), asked again as long as the kernel wishes: where a path with `..` must not leave a directory,
//! it answers `EAGAIN` whenever anything was renamed or mounted anywhere meanwhile.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Opens a path in the way that `resolve` says.
///
/// # Errors
/// The kernel's own; `EAGAIN` only if it has said so very often.
pub fn open(
    dir: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    const OFTEN: usize = 1000;
    let ask = || rustix::fs::openat2(&dir, path, flags, mode, resolve);
    let mut answers = std::iter::repeat_with(ask).take(OFTEN);
    let settled = answers.find(|answer| !matches!(answer, Err(Errno::AGAIN)));
    settled.unwrap_or(Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn renames_elsewhere_are_no_failure() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = std::fs::File::open(dir.path()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, two) = (other.path().join("1"), other.path().join("2"));
                std::fs::create_dir(&one).unwrap();
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(&one, &two).unwrap();
                    std::fs::rename(&two, &one).unwrap();
                }
            });
            let path = "../".repeat(20);
            let opened: Vec<_> = (0..2000)
                .map(|_| {
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    open(&root, path.as_ref(), flags, Mode::empty(), ResolveFlags::IN_ROOT)
                })
                .collect();
            done.store(true, Ordering::Relaxed);
            assert!(opened.iter().all(|opened| opened.is_ok()));
        });
    }
}
