//! Where everything lies: `root` outlives a reboot, `runroot` must not.

use std::path::{Path, PathBuf};

use stasis_network::Networks;
use stasis_store::{Bounds, ImageStore};

/// The two directories of an engine and what lies below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    runroot: PathBuf,
    image_bounds: Bounds,
}

impl Home {
    pub fn new(root: impl Into<PathBuf>, runroot: impl Into<PathBuf>) -> Home {
        let image_bounds = Bounds::default();
        Home { root: root.into(), runroot: runroot.into(), image_bounds }
    }

    /// The same; layers of images may hold so much.
    pub fn with_image_bounds(self, image_bounds: Bounds) -> Home {
        Home { image_bounds, ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// One directory per container, named by its id.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The images that containers are made of.
    pub fn images(&self) -> ImageStore {
        ImageStore::new(&self.root).with_bounds(self.image_bounds)
    }

    /// One directory per volume, under its name.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Shared by those who choose volumes, taken alone by those who remove them.
    pub(crate) fn volumes_lock(&self) -> PathBuf {
        self.root.join("volumes.lock")
    }

    /// One directory per checkpoint, under its id.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(crate) fn checkpoint_tags(&self) -> PathBuf {
        self.checkpoints().join("tags.json")
    }

    /// Taken while names of checkpoints are given away.
    pub(crate) fn checkpoints_lock(&self) -> PathBuf {
        self.root.join("checkpoints.lock")
    }

    /// Networks of containers, and who is in them.
    pub fn networks(&self) -> Networks {
        Networks::new(&self.root)
    }

    /// Taken while a name is given away.
    pub(crate) fn names_lock(&self) -> PathBuf {
        self.root.join("names.lock")
    }

    /// State directory of the runtime library.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.runroot.join("runtime")
    }

    pub(crate) fn place(&self, id: &str) -> Place {
        Place {
            dir: self.containers().join(id),
            run: self.runroot.join("containers").join(id),
            runtime: self.runtime().join(id),
        }
    }
}

/// Where one container lies.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Below `root`.
    pub dir: PathBuf,
    /// Below `runroot`.
    pub run: PathBuf,
    /// The runtime library's directory of this container.
    pub runtime: PathBuf,
}

impl Place {
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.json")
    }
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }
    /// Held for a short read-modify-write of the state.
    pub fn state_lock(&self) -> PathBuf {
        self.dir.join("state.lock")
    }
    /// Held as long as a command works on the container.
    pub fn command_lock(&self) -> PathBuf {
        self.dir.join("command.lock")
    }
    pub fn log(&self) -> PathBuf {
        self.dir.join("log.json")
    }
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }
    /// The changes from before a restore that has not come to its end.
    pub fn upper_before(&self) -> PathBuf {
        self.dir.join("upper.before")
    }
    /// The changes of a checkpoint, before they are put in their place.
    pub fn upper_new(&self) -> PathBuf {
        self.dir.join("upper.new")
    }
    /// The lowest writable layer: mount points that the root file system lacks.
    pub fn mount_points(&self) -> PathBuf {
        self.dir.join("mount-points")
    }
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }
    /// Host files of the container, such as `hosts`.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    /// Where the overlay is mounted.
    pub fn merged(&self) -> PathBuf {
        self.run.join("rootfs")
    }
    pub fn bundle(&self) -> PathBuf {
        self.run.join("bundle")
    }
    pub fn attach_socket(&self) -> PathBuf {
        self.run.join("attach.sock")
    }
    pub fn console_socket(&self) -> PathBuf {
        self.run.join("console.sock")
    }
    pub fn monitor_log(&self) -> PathBuf {
        self.run.join("monitor.log")
    }
    pub fn launcher_log(&self) -> PathBuf {
        self.run.join("launcher.log")
    }
}
