//! JSON records on disk that are either the old ones or the new ones, also after a power cut, and
//! the locks around them (flock(2)).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::Write,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

mod error;

use error::Context;
pub use error::{Error, Result};

/// Reads a record.
///
/// # Errors
/// [`Error::Refused`] if it cannot be read, [`Error::Damaged`] if it is no record of this kind.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).context("read", path.display())?;
    serde_json::from_slice(&text).map_err(|error| Error::Damaged {
        object: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// Replaces a record: written beside, synced, renamed.
///
/// # Errors
/// [`Error::Refused`]; the old record is untouched.
pub fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(record).map_err(|error| Error::Damaged {
        object: path.display().to_string(),
        reason: error.to_string(),
    })?;
    write_bytes(path, &text)
}

/// As [`write`], for any contents.
///
/// # Errors
/// [`Error::Refused`]; the old file is untouched.
pub fn write_bytes(path: &Path, contents: &[u8]) -> Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_synced(&beside, contents).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.context("write", path.display())?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn write_synced(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Makes names in a directory survive a power cut.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).context("sync", dir.display())
}

/// Makes a directory that only root can look into, with its parents.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub fn make_private_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .context("make directory", dir.display())
}

/// Which run of the kernel this is (random(4)); empty if it does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A lock that ends with this value or with the process, unless it was shared with another process
/// (flock(2)): then with the last of them.
#[derive(Debug)]
pub struct Lock(File);

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Lock {
    /// The lock of another process, as it came from there (`SCM_RIGHTS`).
    fn from(handed: OwnedFd) -> Lock {
        Lock(handed.into())
    }
}

impl Lock {
    /// Waits until nobody else has the lock.
    ///
    /// # Errors
    /// [`Error::Refused`] if the lock file cannot be made.
    pub fn take(path: &Path) -> Result<Lock> {
        let file = open_lock(path)?;
        file.lock().context("lock", path.display())?;
        Ok(Lock(file))
    }

    /// Waits until nobody has the lock for himself alone.
    ///
    /// # Errors
    /// [`Error::Refused`] if the lock file cannot be made.
    pub fn share(path: &Path) -> Result<Lock> {
        let file = open_lock(path)?;
        file.lock_shared().context("lock", path.display())?;
        Ok(Lock(file))
    }

    /// One more handle of the same lock, which ends with the last of them.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no descriptor left.
    pub fn handle(&self) -> Result<Lock> {
        self.0.try_clone().map(Lock).context("duplicate", "a lock")
    }

    /// As [`Lock::share`], for what is there already, such as a directory. It may be under another
    /// name, or none, when the lock is there.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is nothing of this name.
    pub fn share_existing(path: &Path) -> Result<Lock> {
        let file = File::open(path).context("open", path.display())?;
        file.lock_shared().context("lock", path.display())?;
        Ok(Lock(file))
    }

    /// The lock for oneself alone on what is there already; `None` if somebody else has it.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is nothing of this name.
    pub fn try_take_existing(path: &Path) -> Result<Option<Lock>> {
        let file = File::open(path).context("open", path.display())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("lock", path.display()),
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .context("open", path.display())
}

/// Removes a tree; that it is not there is fine.
///
/// # Errors
/// [`Error::Refused`] by the file system.
pub fn remove_tree(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove", dir.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        write(&path, &vec![1, 2]).unwrap();
        write(&path, &vec![3]).unwrap();
        assert_eq!(read::<Vec<i32>>(&path).unwrap(), vec![3]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_shared_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Lock::share_existing(dir.path()).unwrap();
        let also = Lock::share_existing(dir.path()).unwrap();
        assert!(Lock::try_take_existing(dir.path()).unwrap().is_none());
        drop((shared, also));
        assert!(Lock::try_take_existing(dir.path()).unwrap().is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_cut_record_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        fs::write(&path, "[1,").unwrap();
        assert!(matches!(read::<Vec<i32>>(&path), Err(Error::Damaged { .. })));
    }
}
