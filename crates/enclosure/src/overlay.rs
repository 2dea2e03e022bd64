//! overlayfs (the kernel's documentation, filesystems/overlayfs): many directories seen as one.
//!
//! Made through fsopen(2), which takes lower directories one by one: no list that could become too
//! long, no separators to escape.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt, chown},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, OFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount,
    },
};

use crate::error::{Context, Result};

/// fsconfig(2) takes no longer strings.
const MAX_VALUE_BYTES: usize = 255;

/// Directories seen as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The topmost first; nothing in them is ever changed.
    pub lower: Vec<PathBuf>,
    /// Where changes go; without it nothing can be changed, and there are at least two lower ones.
    pub upper: Option<Upper>,
}

/// Where the changes of an overlay go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Lies on one file system with `work`.
    pub dir: PathBuf,
    pub work: PathBuf,
}

impl Overlay {
    /// Mounts the overlay at `target`; missing directories are made.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], for instance if the upper directory lies on a file system that
    /// cannot bear one.
    pub fn mount_at(&self, target: &Path) -> Result<()> {
        fs::create_dir_all(target).context("make directory", target.display())?;
        let mount = self.mount()?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, target, flags).context("mount an overlay at", target.display())
    }

    /// Mounts the overlay nowhere: it is seen only through the descriptor and goes with it.
    ///
    /// # Errors
    /// As for [`Overlay::mount_at`].
    pub fn mount(&self) -> Result<OwnedFd> {
        let name = self.lower.first().map(|dir| dir.display().to_string()).unwrap_or_default();
        let setup = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .context("set up an overlay of", &name)?;
        // Short names of long paths hold as long as these are open.
        let mut open = Vec::new();
        for dir in &self.lower {
            set_path(setup.as_fd(), "lowerdir+", dir, &mut open)?;
        }
        if let Some(upper) = &self.upper {
            create_like(&upper.dir, self.lower.first())?;
            fs::create_dir_all(&upper.work).context("make directory", upper.work.display())?;
            set_path(setup.as_fd(), "upperdir", &upper.dir, &mut open)?;
            set_path(setup.as_fd(), "workdir", &upper.work, &mut open)?;
        }
        for (key, value) in self.options() {
            fsconfig_set_string(setup.as_fd(), key, value)
                .context("set up an overlay of", &name)?;
        }
        fsconfig_create(setup.as_fd()).context("mount an overlay of", &name)?;
        fsmount(setup.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .context("mount an overlay of", &name)
    }

    fn options(&self) -> Vec<(&'static str, &'static str)> {
        match self.upper {
            // rename(2) of a lower directory fails with EXDEV, so that programs copy it: the upper
            // directory holds all that is new, as layers and archives of others must.
            Some(_) => vec![("index", "off"), ("metacopy", "off"), ("redirect_dir", "off")],
            None => Vec::new(),
        }
    }
}

/// The root of an overlay has the attributes of its upper directory: a new one gets those of the
/// root below.
fn create_like(upper: &Path, lower: Option<&PathBuf>) -> Result<()> {
    if upper.exists() {
        return Ok(());
    }
    fs::create_dir_all(upper).context("make directory", upper.display())?;
    let Some(lower) = lower else { return Ok(()) };
    let meta = fs::metadata(lower).context("look at", lower.display())?;
    chown(upper, Some(meta.uid()), Some(meta.gid()))
        .and_then(|()| fs::set_permissions(upper, meta.permissions()))
        .context("change", upper.display())
}

fn set_path(
    setup: BorrowedFd<'_>,
    key: &'static str,
    path: &Path,
    open: &mut Vec<File>,
) -> Result<()> {
    let mut value = path.to_owned();
    if path.as_os_str().len() > MAX_VALUE_BYTES {
        let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
        let dir = File::options().read(true).custom_flags(flags).open(path);
        let dir = dir.context("open", path.display())?;
        value = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        open.push(dir);
    }
    fsconfig_set_string(setup, key, &value).context("lay an overlay over", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(format!("file-{}", path.file_name().unwrap().len())), "").unwrap();
        path
    }

    fn names(mount: &OwnedFd) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/self/fd/{}", mount.as_raw_fd())).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn lower_directories_with_odd_and_long_names_are_seen_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{0}/{0}/end", "d".repeat(200));
        let lower = vec![layer(dir.path(), "a:b,c\\"), layer(dir.path(), &long)];
        let overlay = Overlay { lower, upper: None };
        assert_eq!(names(&overlay.mount().unwrap()), ["file-3", "file-6"]);
    }

    #[test]
    fn changes_go_to_the_upper_directory() {
        let dir = tempfile::tempdir().unwrap();
        let lower = vec![layer(dir.path(), "lower")];
        let upper = Upper { dir: dir.path().join("upper"), work: dir.path().join("work") };
        let mount = Overlay { lower: lower.clone(), upper: Some(upper) }.mount().unwrap();
        let inside = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        fs::write(inside.join("file-5"), "changed").unwrap();
        assert_eq!(fs::read(lower[0].join("file-5")).unwrap(), b"");
        assert_eq!(fs::read(dir.path().join("upper/file-5")).unwrap(), b"changed");
    }
}
