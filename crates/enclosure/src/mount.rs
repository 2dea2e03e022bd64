//! mount(2): the overlay over a root file system, and taking it away again.

use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

use crate::error::{Context, Error, Result};

/// An overlay (overlayfs in the kernel's documentation): what is written goes to `upper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    pub lower: PathBuf,
    /// Lies on one file system with `work`.
    pub upper: PathBuf,
    pub work: PathBuf,
}

impl Overlay {
    /// Mounts the overlay at `target`; missing directories are made.
    ///
    /// # Errors
    /// [`Error::Refused`], for instance if `upper` lies on a file system that cannot bear one.
    pub fn mount_at(&self, target: &Path) -> Result<()> {
        for dir in [&self.upper, &self.work, &target.to_path_buf()] {
            fs::create_dir_all(dir).context("make directory", dir.display())?;
        }
        rustix::mount::mount(
            "overlay",
            target,
            "overlay",
            MountFlags::empty(),
            Some(self.options()?.as_c_str()),
        )
        .context("mount an overlay of", self.lower.display())
    }

    fn options(&self) -> Result<CString> {
        let text = format!(
            "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=on",
            escape(&self.lower),
            escape(&self.upper),
            escape(&self.work),
        );
        CString::new(text).map_err(|_| Error::Unsupported("a path holds a zero byte".into()))
    }
}

/// The mount options end at commas, the list of lower directories is split at colons.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ',' | ':' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Takes away whatever is mounted at `target`, as often as something is.
///
/// # Errors
/// [`Error::Refused`], but not if nothing is mounted there or `target` does not exist.
pub fn unmount_all(target: &Path) -> Result<()> {
    loop {
        match rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).context("unmount", target.display()),
        }
    }
}

/// Does `path` stand in the mount table?
///
/// # Errors
/// [`Error::Refused`] if `/proc/self/mountinfo` cannot be read.
pub fn is_mounted(path: &Path) -> Result<bool> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read", "the mount table")?;
    let wanted = path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040");
    Ok(table.lines().any(|line| line.split(' ').nth(4) == Some(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escape(Path::new("/a:b,c")), "/a\\:b\\,c");
    }

    #[test]
    fn root_is_mounted() {
        assert!(is_mounted(Path::new("/")).unwrap());
        assert!(!is_mounted(Path::new("/no/such/place")).unwrap());
    }
}
