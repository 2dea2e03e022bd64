//! Disks that are soon full.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A small disk at a path, as long as it lives.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn new(path: &Path, kilobytes: usize) -> SmallDisk {
        fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
        mount("small", path, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        SmallDisk(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
