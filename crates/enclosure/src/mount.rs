//! mount(2): file systems of volumes, what is mounted where, and taking it away again.

use std::{ffi::CString, fs, path::Path};

use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

use crate::error::{Context, Error, Result};

/// A file system to be mounted, as mount(8) takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type, such as `tmpfs`; `none` for what is bound.
    pub kind: String,
    pub device: String,
    /// Options between commas, such as `size=1m,nosuid`.
    pub options: String,
}

impl FileSystem {
    /// Mounts it at `target`.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn mount_at(&self, target: &Path) -> Result<()> {
        let (flags, data) = split_options(&self.options);
        let data = CString::new(data)
            .map_err(|_| Error::Unsupported("a mount option holds a zero byte".into()))?;
        let data = (!data.is_empty()).then_some(data.as_c_str());
        let name = || format!("{} ({})", self.device, self.kind);
        rustix::mount::mount(self.device.as_str(), target, self.kind.as_str(), flags, data)
            .context("mount", name())?;
        // A first bind leaves all other flags as they were.
        let rest = flags.difference(MountFlags::BIND | MountFlags::REC);
        if flags.contains(MountFlags::BIND) && !rest.is_empty() {
            rustix::mount::mount_remount(target, MountFlags::BIND | rest, c"")
                .context("mount", name())?;
        }
        Ok(())
    }
}

/// Flags of mount(2), and what is left for the file system.
fn split_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "defaults" | "rw" | "suid" | "dev" | "exec" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "bind" => flags |= MountFlags::BIND,
            "rbind" => flags |= MountFlags::BIND | MountFlags::REC,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
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
    fn flags_are_told_from_what_the_file_system_takes() {
        let (flags, data) = split_options("size=1m,nosuid,,uid=3,ro");
        assert_eq!(
            (flags, data.as_str()),
            (MountFlags::NOSUID | MountFlags::RDONLY, "size=1m,uid=3")
        );
    }

    #[test]
    fn root_is_mounted() {
        assert!(is_mounted(Path::new("/")).unwrap());
        assert!(!is_mounted(Path::new("/no/such/place")).unwrap());
    }
}
