//! Control groups of a container (cgroups(7)).
//!
//! Limits are set by the runtime library in whatever hierarchies the host has. What it does not do,
//! and we need, is a version 2 directory with its freezer: tasks frozen by version 1 cannot be
//! stopped by ptrace(2), tasks frozen by version 2 can. On hybrid hosts version 2 is an otherwise
//! empty tree beside the controllers.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::error::{Context, Error, Result};

const MOUNT: &str = "/sys/fs/cgroup";
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How the host mounts its hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 only.
    Legacy,
    /// Version 1 controllers, and an empty version 2 tree in `unified`.
    Hybrid,
    /// Version 2 only.
    Unified,
}

impl Layout {
    /// Looks at what is mounted at `/sys/fs/cgroup`.
    pub fn probe() -> Layout {
        let root = Path::new(MOUNT);
        if is_version_2(root) {
            Layout::Unified
        } else if is_version_2(&root.join("unified")) {
            Layout::Hybrid
        } else {
            Layout::Legacy
        }
    }

    /// Where the version 2 tree is mounted.
    fn version_2(self) -> Option<PathBuf> {
        match self {
            Layout::Legacy => None,
            Layout::Hybrid => Some(Path::new(MOUNT).join("unified")),
            Layout::Unified => Some(MOUNT.into()),
        }
    }
}

fn is_version_2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}

/// The group of one container in all hierarchies of the host.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// Path below each hierarchy, without leading slash.
    name: PathBuf,
    layout: Layout,
}

/// A directory of a version 1 controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    pub name: String,
    /// The container's own directory of this controller.
    pub dir: PathBuf,
}

/// How much all tasks of a group together may have; `None` is without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Memory {
        max_bytes: Option<u64>,
    },
    /// Processor time in each period.
    Cpu {
        quota_us: Option<u64>,
        period_us: u64,
    },
    Pids {
        max: Option<u64>,
    },
}

impl Cgroup {
    /// The group `name` (such as `stasis/1234`) on this host; nothing is made yet.
    pub fn new(name: impl Into<PathBuf>) -> Cgroup {
        Cgroup { name: name.into(), layout: Layout::probe() }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The directory with `cgroup.freeze`, on hosts that have version 2.
    fn version_2_dir(&self) -> Option<PathBuf> {
        self.layout.version_2().map(|root| root.join(&self.name))
    }

    /// The version 1 controllers with the container's directory in each.
    ///
    /// # Errors
    /// [`Error::Refused`] if `/sys/fs/cgroup` cannot be read.
    pub fn controllers(&self) -> Result<Vec<Controller>> {
        if self.layout == Layout::Unified {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(MOUNT).context("read", MOUNT)? {
            let entry = entry.context("read", MOUNT)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if name != "unified" && name != "systemd" && !is_link {
                found.push(Controller { name, dir: entry.path().join(&self.name) });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Makes the version 2 directory and opens its list of processes: who writes `0` to it moves in.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel. `None` on hosts without version 2.
    pub fn open_version_2(&self) -> Result<Option<File>> {
        let Some(dir) = self.version_2_dir() else { return Ok(None) };
        fs::create_dir_all(&dir).context("make control group", dir.display())?;
        let procs = dir.join("cgroup.procs");
        let file = File::options().write(true).open(&procs).context("open", procs.display())?;
        Ok(Some(file))
    }

    /// Moves the calling process to the group, in the hierarchies by which a service manager knows who
    /// belongs to what: version 2, and version 1's `systemd`.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn enter(&self) -> Result<()> {
        let named = Path::new(MOUNT).join("systemd");
        let version_1 = (self.layout != Layout::Unified && named.is_dir()).then_some(named);
        let dirs =
            self.version_2_dir().into_iter().chain(version_1.map(|dir| dir.join(&self.name)));
        for dir in dirs {
            fs::create_dir_all(&dir).context("make control group", dir.display())?;
            let procs = dir.join("cgroup.procs");
            fs::write(&procs, "0").context("write", procs.display())?;
        }
        Ok(())
    }

    /// Pids of all processes in the group, as the caller's pid namespace sees them.
    ///
    /// # Errors
    /// [`Error::Refused`] if the list cannot be read; an absent group has no processes.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let Some(dir) = self.version_2_dir().or_else(|| self.freezer_1()) else {
            return Ok(Vec::new());
        };
        match fs::read_to_string(dir.join("cgroup.procs")) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context("read control group", dir.display()),
        }
    }

    fn freezer_1(&self) -> Option<PathBuf> {
        let root = Path::new(MOUNT).join("freezer");
        root.is_dir().then(|| root.join(&self.name))
    }

    /// Freezes all tasks of the group and waits until they stand.
    ///
    /// # Errors
    /// [`Error::NotFrozen`] after ten seconds; then the group is thawed again.
    pub fn freeze(&self) -> Result<()> {
        self.write_freezer(Freezer::FROZEN)?;
        let deadline = Instant::now() + FREEZE_TIMEOUT;
        while !self.is_frozen() {
            if Instant::now() > deadline {
                self.thaw()?;
                let name = self.name.display().to_string();
                return Err(Error::NotFrozen(name, FREEZE_TIMEOUT.as_secs()));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets all tasks of the group run.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel.
    pub fn thaw(&self) -> Result<()> {
        self.write_freezer(Freezer::THAWED)
    }

    fn write_freezer(&self, text: Freezer) -> Result<()> {
        let (path, word) = match (self.version_2_dir(), self.freezer_1()) {
            (Some(dir), _) => (dir.join("cgroup.freeze"), text.version_2),
            (None, Some(dir)) => (dir.join("freezer.state"), text.version_1),
            (None, None) => {
                return Err(Error::Unsupported("this host has no control group freezer".into()));
            }
        };
        fs::write(&path, word).context("write", path.display())
    }

    /// Do all tasks of the group stand still by its freezer?
    pub fn is_frozen(&self) -> bool {
        match (self.version_2_dir(), self.freezer_1()) {
            (Some(dir), _) => fs::read_to_string(dir.join("cgroup.events"))
                .is_ok_and(|events| events.lines().any(|line| line == "frozen 1")),
            (None, Some(dir)) => fs::read_to_string(dir.join("freezer.state"))
                .is_ok_and(|state| state.trim() == "FROZEN"),
            (None, None) => false,
        }
    }

    /// Changes a limit of a group that is there.
    ///
    /// # Errors
    /// [`Error::Refused`] by the kernel, for instance if more memory is in use already.
    pub fn set_limit(&self, limit: Limit) -> Result<()> {
        let number = |value: Option<u64>, none: &str| {
            value.map_or_else(|| none.to_owned(), |value| value.to_string())
        };
        let (controller, file, text) = match (self.layout == Layout::Unified, limit) {
            (true, Limit::Memory { max_bytes }) => ("", "memory.max", number(max_bytes, "max")),
            (false, Limit::Memory { max_bytes }) => {
                ("memory", "memory.limit_in_bytes", number(max_bytes, "-1"))
            }
            (true, Limit::Cpu { quota_us, period_us }) => {
                ("", "cpu.max", format!("{} {period_us}", number(quota_us, "max")))
            }
            (false, Limit::Cpu { quota_us, .. }) => {
                ("cpu", "cpu.cfs_quota_us", number(quota_us, "-1"))
            }
            (true, Limit::Pids { max }) => ("", "pids.max", number(max, "max")),
            (false, Limit::Pids { max }) => ("pids", "pids.max", number(max, "max")),
        };
        let path = Path::new(MOUNT).join(controller).join(&self.name).join(file);
        fs::write(&path, text).context("write", path.display())
    }

    /// Removes the group from all hierarchies; waits a moment for tasks that are just going.
    ///
    /// # Errors
    /// [`Error::Refused`] if tasks are left in it.
    pub fn remove(&self) -> Result<()> {
        let mut dirs: Vec<PathBuf> = self.controllers()?.into_iter().map(|c| c.dir).collect();
        dirs.push(Path::new(MOUNT).join("systemd").join(&self.name));
        dirs.extend(self.version_2_dir());
        dirs.iter().try_for_each(|dir| remove_group(dir))
    }
}

/// The words of the two freezers.
struct Freezer {
    version_1: &'static str,
    version_2: &'static str,
}

impl Freezer {
    const FROZEN: Freezer = Freezer { version_1: "FROZEN", version_2: "1" };
    const THAWED: Freezer = Freezer { version_1: "THAWED", version_2: "0" };
}

/// Removes a group with the groups that the container made below it.
fn remove_group(dir: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path())?;
        }
    }
    let deadline = Instant::now() + REMOVE_TIMEOUT;
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("remove control group", dir.display());
            }
            Err(_) => sleep(Duration::from_millis(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_never_made_has_no_processes_and_can_be_removed() {
        let group = Cgroup::new("stasis/no-such-group");
        assert!(group.processes().unwrap().is_empty());
        assert!(!group.is_frozen());
        group.remove().unwrap();
    }
}
