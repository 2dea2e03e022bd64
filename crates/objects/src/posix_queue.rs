//! POSIX message queues (mq_overview(7)). They belong to an IPC namespace and cannot be kept yet.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Dir, Mode, OFlags},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use stasis_model::{Obstacle, Subject};

use crate::error::{Error, Result};

/// Names all queues of the calling thread's namespace, by a mount that nobody else sees.
pub fn obstacles() -> Result<Vec<Obstacle>> {
    let mount = mount().map_err(Error::at("POSIX message queues", "fsmount(mqueue)"))?;
    let root = rustix::fs::openat(&mount, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(Error::at("POSIX message queues", "open"))?;
    let entries = Dir::new(root).map_err(Error::at("POSIX message queues", "read"))?;
    let names = entries.map(|entry| {
        let entry = entry.map_err(Error::at("POSIX message queues", "readdir"))?;
        Ok(entry.file_name().to_string_lossy().into_owned())
    });
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names.iter().filter(|name| !matches!(name.as_str(), "." | "..")).map(obstacle).collect())
}

fn mount() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn obstacle(name: &String) -> Obstacle {
    let subject = Subject::Named(format!("POSIX message queue /{name}"));
    Obstacle::lasting(subject, "it cannot be kept", Some("remove it with mq_unlink(3)"))
}
