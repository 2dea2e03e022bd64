//! The root directory as the tasks of a container see it, with all that is mounted in it; also of a
//! container that does not run.
//!
//! For one that does not run, the mounts are made in a mount namespace of their own, which is gone
//! with us, whatever happens. No path leads through the host's own namespace.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    thread,
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::OFlags,
    mount::{MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount},
};

use crate::{
    config::{Mount, MountKind},
    error::{Context, Error, Result},
    inside,
    process::ProcessId,
    record::{self, Lock},
    rootfs,
    store::Container,
    volume::{self, Volumes},
};

/// The open root; what is mounted there stays as long as it lives.
pub(crate) struct InnerRoot<'a> {
    dir: OwnedFd,
    /// Of a container that does not run, and must not be started meanwhile.
    _idle: Option<Idle<'a>>,
}

struct Idle<'a> {
    container: &'a Container,
    _namespace: File,
    _lock: Lock,
}

impl Container {
    /// Opens the root.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn inner_root(&self) -> Result<InnerRoot<'_>> {
        let lock = self.command_lock()?;
        let state = self.state()?;
        if let Some(init) = state.init.as_ref().filter(|init| init.is_whole()) {
            return Ok(InnerRoot { dir: self.root_of(init)?, _idle: None });
        }
        volume::mount_volumes(self)?;
        let made = thread::scope(|scope| scope.spawn(|| self.make_root()).join());
        let (dir, namespace) =
            made.unwrap_or_else(|_| Err(Error::invalid("mounting came to a sudden end")))?;
        let idle = Idle { container: self, _namespace: namespace, _lock: lock };
        Ok(InnerRoot { dir, _idle: Some(idle) })
    }

    fn root_of(&self, init: &ProcessId) -> Result<OwnedFd> {
        let root = inside::open_root(Path::new(&format!("/proc/{}/root", init.pid)));
        // The pid may be another process's by now.
        if init.is_whole() { root } else { Err(self.wrong_state("has just ended: try again")) }
    }

    /// In a thread of its own, which alone goes to the new namespace.
    fn make_root(&self) -> Result<(OwnedFd, File)> {
        unshare(CloneFlags::CLONE_NEWNS).context("make", "a mount namespace")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).context("make private", "all mounts")?;
        record::make_private_dir(&self.place.run)?;
        rootfs::mount_at(self, &self.place.merged())?;
        let root = inside::open_root(&self.place.merged())?;
        let volumes = Volumes::new(self.home.clone());
        let mut mounts: Vec<&Mount> = self.config.mounts.iter().collect();
        mounts.sort_by_key(|mount| mount.target.components().count());
        mounts.into_iter().try_for_each(|mount| bind(mount, &volumes, root.as_fd()))?;
        let namespace = "/proc/thread-self/ns/mnt";
        Ok((root, File::open(namespace).context("open", namespace)?))
    }
}

/// What the container has in memory is not there.
fn bind(mount: &Mount, volumes: &Volumes, root: BorrowedFd<'_>) -> Result<()> {
    let source = match &mount.kind {
        MountKind::Tmpfs => return Ok(()),
        MountKind::Bind { source } => source.clone(),
        MountKind::Volume(source) => volumes.mountpoint(&source.name),
    };
    if source.is_dir() {
        inside::make_dirs(root, &mount.target)?;
    } else {
        inside::make_file(root, &mount.target)?;
    }
    let target =
        inside::open(root, &mount.target, OFlags::PATH).context("open", mount.target.display())?;
    mount_bind_recursive(&source, inside::path_of(&target)).context("mount", source.display())?;
    if mount.options.iter().any(|option| option == "ro") {
        let mounted = inside::open(root, &mount.target, OFlags::PATH)
            .context("open", mount.target.display())?;
        let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
        mount_remount(inside::path_of(&mounted), flags, c"").context("mount", source.display())?;
    }
    Ok(())
}

impl InnerRoot<'_> {
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        // Left in place they are taken away when the next container stops.
        let _ = volume::unmount_volumes(self.container);
    }
}
