//! Options in, reports out.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use stasis_files::Parents;
use stasis_model::{Loss, NamespaceKind};
use stasis_plan::CpuCheck;

use crate::tracking::Since;

pub use crate::connections::{
    FrozenConnections, LockError, LockGuard, Locked, Locking, NamespaceOf, NetworkLock,
    SurveyedConnections, ThawedConnections,
};
pub use crate::error::Error;

/// What to freeze and how.
pub struct CheckpointOptions<'a> {
    /// Root of the tree, as a pid of the caller's pid namespace.
    pub root: i32,
    /// An existing, empty directory for the checkpoint files.
    pub images_dir: PathBuf,
    pub fate: Fate,
    /// `--shell-job`: the session, group and terminal of the root may lie outside the tree.
    pub shell_job: bool,
    pub externals: Externals,
    /// The round before, if there was one: only what changed since is written.
    pub since: Option<Since>,
    /// A checkpoint that is not wholly written by then is given up.
    pub deadline: Option<Instant>,
    pub connections: FrozenConnections<'a>,
    /// Called with what is left out while everything stands still, after the tasks are on disk and
    /// before their fate is settled; an error lets the tree run on and fails the checkpoint.
    pub while_stopped: Option<WhileStopped<'a>>,
}

/// See [`CheckpointOptions::while_stopped`].
pub type WhileStopped<'a> =
    &'a mut dyn FnMut(&[Loss]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What becomes of the tree once the checkpoint is wholly on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kill,
    LeaveRunning,
    LeaveStopped,
}

/// Things that belong to the host and are handed over by name at a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Externals {
    /// Open files by what `/proc/PID/fd` shows, such as `pipe:[1234]`.
    pub files: Vec<ExternalKey>,
    /// Mount points inside the tree's mount namespace whose source the caller provides again.
    pub mounts: Vec<PathBuf>,
    /// Kinds of which the caller makes the tree a namespace of its own again, if it had one.
    pub namespaces: Vec<NamespaceKind>,
    /// The terminal (`/proc/PID/fd` link inside the container) whose master the caller holds.
    pub console: Option<PathBuf>,
}

/// Name of an external open file, stable from checkpoint to restore.
pub type ExternalKey = String;

/// What to bring back and how.
pub struct RestoreOptions<'a> {
    pub images_dir: PathBuf,
    /// The checkpoints before, for pages that did not change since.
    pub parents: Parents,
    pub root: RestoreRoot<'a>,
    pub shell_job: bool,
    /// How much of the processor must be as it was.
    pub cpu: CpuCheck,
    pub pages: Pages,
    /// External files: key to the descriptor number that the root blank has it under.
    pub inherited: InheritedFds,
    pub connections: ThawedConnections<'a>,
    /// Files of a frozen run that this one takes the place of: the peers of its connections are told.
    pub abandoned: Option<PathBuf>,
}

/// Whether the kernel may let equal pages of several trees be one (`MADV_MERGEABLE` of madvise(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    #[default]
    Own,
    Mergeable,
}

pub type InheritedFds = BTreeMap<ExternalKey, i32>;

/// Where the root task comes from.
pub enum RestoreRoot<'a> {
    /// A new process with the pid of the checkpoint, in the caller's namespaces but for those of
    /// names and of inter-process communication that the tree had for itself.
    New,
    /// A process that waits in a container made as for `run`: it is seized, `release` is called to
    /// let it execute the blank, and it is caught before the blank's first instruction. Its
    /// descriptors 0, 1 and 2 are the new standard streams.
    Waiting { pid: i32, release: &'a mut dyn FnMut() -> std::io::Result<()> },
}

/// A tree that runs again.
#[derive(Debug)]
pub struct Restored {
    /// Pid of the root in the caller's pid namespace.
    pub root: i32,
    pub report: Report,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub stats: Stats,
    pub losses: Vec<Loss>,
}

/// Time per phase, bytes, tasks.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Phases in their order with the time each took.
    pub phases: Vec<(&'static str, Duration)>,
    /// How long the tree stood still.
    pub stopped: Duration,
    pub nr_tasks: usize,
    pub nr_threads: usize,
    /// Written or restored.
    pub nr_pages: u64,
    /// Left where the checkpoint before has them.
    pub nr_unchanged: u64,
    pub bytes_written: u64,
}
