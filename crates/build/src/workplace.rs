//! Where a build works: directories that are its own, and that go with it.
//!
//! `<root>/builds/ID` holds a lock as long as the build lives. One whose lock is free was left behind by
//! a build that was killed; its containers and mounts are taken away with it.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use stasis_container::{Home, Removal, Store, VolumesOf};
use stasis_enclosure::mount;

use crate::error::{Context, Result};

const LOCK: &str = "lock";
/// Programs write in blocks, the last of which did not fit.
const FULL_BELOW_BYTES: u64 = 256 << 10;

/// The directories of one build.
#[derive(Debug)]
pub(crate) struct Workplace {
    dir: PathBuf,
    run: PathBuf,
    nr_made: std::cell::Cell<usize>,
    _lock: File,
}

impl Workplace {
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn make(home: &Home) -> Result<Workplace> {
        sweep(home)?;
        let places = Places::of(home);
        make_private(&places.dir)?;
        // Nobody sweeps while a directory has no lock yet.
        let _alone = lock(&places.dir.join(LOCK))?;
        let dir = tempfile::Builder::new().prefix("build-").tempdir_in(&places.dir);
        let dir = dir.context("make a directory in", places.dir.display())?.keep();
        let own = lock(&dir.join(LOCK))?;
        let run = places.run.join(dir.file_name().unwrap_or_default());
        make_private(&run)?;
        Ok(Workplace { dir, run, nr_made: std::cell::Cell::new(0), _lock: own })
    }

    /// A new directory on the file system of the layers.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let number = self.nr_made.get() + 1;
        self.nr_made.set(number);
        let dir = self.dir.join(format!("{name}-{number}"));
        make_private(&dir)?;
        Ok(dir)
    }

    /// A new directory that does not outlive a reboot, for what must not come to disk.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn make_volatile_dir(&self, name: &str) -> Result<PathBuf> {
        let number = self.nr_made.get() + 1;
        self.nr_made.set(number);
        let dir = self.run.join(format!("{name}-{number}"));
        make_private(&dir)?;
        Ok(dir)
    }

    /// Has the file system of the layers no room any more?
    pub fn is_disk_full(&self) -> bool {
        let room = rustix::fs::statvfs(&self.dir).map(|stat| stat.f_bfree * stat.f_frsize);
        room.is_ok_and(|bytes| bytes < FULL_BELOW_BYTES)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The containers of this build.
    pub fn containers(&self) -> Store {
        containers_of(&self.dir, &self.run)
    }

    /// Takes everything away.
    ///
    /// # Errors
    /// What could not be taken away.
    pub fn finish(self) -> Result<()> {
        clear(&self.dir, &self.run)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.dir, &self.run) {
            tracing::warn!("cannot clean up after the build: {error}");
        }
    }
}

/// Takes away what builds that were killed have left behind; those that live are not touched.
///
/// # Errors
/// [`Error::Refused`] or [`Error::Container`] for what could not be taken away.
pub fn sweep(home: &Home) -> Result<()> {
    let places = Places::of(home);
    let entries = match fs::read_dir(&places.dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("read", places.dir.display()),
    };
    let left: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let _alone = lock(&places.dir.join(LOCK))?;
    left.iter().try_for_each(|dir| sweep_one(dir, &places.run))
}

fn sweep_one(dir: &Path, runs: &Path) -> Result<()> {
    let Ok(own) = open_lock(&dir.join(LOCK)) else { return Ok(()) };
    match own.try_lock() {
        Ok(()) => clear(dir, &runs.join(dir.file_name().unwrap_or_default())),
        Err(_) => Ok(()),
    }
}

fn clear(dir: &Path, run: &Path) -> Result<()> {
    for container in containers_of(dir, run).list()? {
        container.remove(Removal::Kill, VolumesOf::Remove)?;
    }
    for part in [run, dir] {
        unmount_below(part)?;
        match fs::remove_dir_all(part) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("remove", part.display());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Trees that commands see are mounted one level below.
fn unmount_below(dir: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        mount::unmount_all(&entry.path().join(MOUNTED))?;
    }
    Ok(())
}

/// The name under which something is mounted in a directory of a workplace.
pub(crate) const MOUNTED: &str = "mounted";

struct Places {
    dir: PathBuf,
    run: PathBuf,
}

impl Places {
    fn of(home: &Home) -> Places {
        Places { dir: home.root().join("builds"), run: home.runroot().join("builds") }
    }
}

/// A home of its own, so that they are not among the user's containers.
fn containers_of(dir: &Path, run: &Path) -> Store {
    Store::new(Home::new(dir.join("home"), run.join("home")))
}

fn make_private(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .context("make directory", dir.display())
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    File::options().create(true).write(true).truncate(false).mode(0o600).open(path)
}

fn lock(path: &Path) -> Result<File> {
    let file = open_lock(path).context("open", path.display())?;
    file.lock().context("lock", path.display())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("root"), dir.path().join("run"));
        let living = Workplace::make(&home).unwrap();
        let kept = living.make_dir("x").unwrap();
        let killed = dir.path().join("root/builds/build-killed");
        fs::create_dir_all(killed.join("x-1")).unwrap();
        sweep(&home).unwrap();
        assert!(kept.is_dir() && !killed.exists());
        living.finish().unwrap();
        assert!(!kept.exists());
        assert_eq!(fs::read_dir(dir.path().join("run/builds")).unwrap().count(), 0);
    }
}
