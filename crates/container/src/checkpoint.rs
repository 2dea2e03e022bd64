//! Checkpoints of containers: objects on disk that outlive their container's run.
//!
//! One directory each, built under another name and renamed when all of it is on disk:
//!
//! | file | holds |
//! |---|---|
//! | `checkpoint/` | the tasks, written by the engine in CRIU's format |
//! | `checkpoint/descriptors.json` | where descriptors 0, 1, 2 led, as runc writes it |
//! | `config.json` | [`Checkpoint`]: whose it is, when, its parent, its size |
//! | `rootfs-diff.tar` | what the container had changed at the same instant |
//! | `deleted.files` | what it had removed, for readers other than us |
//! | `devshm-checkpoint.tar` | contents of `/dev/shm` |
//! | `tmpfs-N.tar` | contents of the N-th file system in memory |
//! | `volumes/NAME.tar` | contents of the container's volumes |
//! | `spec.dump` | the OCI runtime specification of the container, for others |
//! | `stdin` | what lay unread in the pipe to standard input |
//! | `checksums.json` | length and BLAKE3 of every file above |
//!
//! Names and contents are those of Podman's archives where it has such a file.

mod archive;
mod create;
mod manifest;
mod restore;
mod volumes;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_network::Endpoint;

use crate::{
    config::Config,
    error::{Context, Error, Result},
    name, record,
    store::Container,
};

pub use archive::{Addresses, Compression, Import, Imported};
pub use restore::Restoring;

const VERSION: u32 = 1;
const CONFIG: &str = "config.json";
const IMAGES: &str = "checkpoint";
const DESCRIPTORS: &str = "checkpoint/descriptors.json";
const ROOTFS_DIFF: &str = "rootfs-diff.tar";
const DELETED: &str = "deleted.files";
const SPEC_DUMP: &str = "spec.dump";
const DEVSHM: &str = "devshm-checkpoint.tar";
const SHM_TARGET: &str = "/dev/shm";
const STDIN: &str = "stdin";

/// What `config.json` of a checkpoint says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub version: u32,
    pub name: String,
    pub created: Timestamp,
    /// The checkpoint that the frozen run came from.
    pub parent: Option<String>,
    /// All files together.
    pub size_bytes: u64,
    /// Release of the kernel it was taken on.
    pub kernel: String,
    pub container: Config,
    /// Targets of the file systems in memory, in the order of their files.
    pub tmpfs: Vec<PathBuf>,
    /// Volumes whose contents it has, by name.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// How much of the log had been printed, if known.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// What was left out.
    pub losses: Vec<String>,
    /// Its places in networks.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub made_by: Maker,
}

/// Whose files they are: others tell of removed files in their own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    #[default]
    Stasis,
    Podman,
}

/// What becomes of the container once its checkpoint is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stop,
    LeaveRunning,
}

/// What of a checkpoint is left aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Changes of the root file system.
    pub rootfs: bool,
    /// Contents of volumes.
    pub volumes: bool,
}

/// What happens to a checkpoint of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// It is replaced in the moment when the new one is whole.
    Replace,
}

/// A checkpoint to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub name: &'a str,
    /// Where it shall lie, if not with the container.
    pub dir: Option<&'a Path>,
    pub fate: Fate,
    pub left_out: LeftOut,
    pub existing: Existing,
}

impl Container {
    /// The checkpoints in `dir` (or those that lie with the container), the oldest first.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn checkpoints(&self, dir: Option<&Path>) -> Result<Vec<Checkpoint>> {
        let dir = self.checkpoints_dir(dir);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", dir.display()),
        };
        let mut found: Vec<Checkpoint> = entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| read(&entry.path()).ok())
            .collect();
        found.sort_by_key(|checkpoint| checkpoint.created);
        Ok(found)
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none of that name, or what is there is no checkpoint.
    pub fn remove_checkpoint(&self, name: &str, dir: Option<&Path>) -> Result<()> {
        let _lock = self.command_lock()?;
        let path = self.checkpoint_path(name, dir)?;
        read(&path)?;
        let gone = path.with_file_name(format!(".gone-{name}-{}", std::process::id()));
        fs::rename(&path, &gone).context("remove", path.display())?;
        record::remove_tree(&gone)
    }

    /// Takes a whole checkpoint that was made beside, under a name that is free.
    fn adopt_checkpoint(&self, stage: &Path, name: &str) -> Result<()> {
        let parent = self.place.checkpoints();
        record::make_private_dir(&parent)?;
        let target = parent.join(name);
        fs::rename(stage, &target).context("create", target.display())?;
        record::sync_dir(&parent)
    }

    fn checkpoints_dir(&self, dir: Option<&Path>) -> PathBuf {
        dir.map_or_else(|| self.place.checkpoints(), Path::to_owned)
    }

    /// Where an existing checkpoint lies.
    fn checkpoint_path(&self, name: &str, dir: Option<&Path>) -> Result<PathBuf> {
        name::check_name("checkpoint", name)?;
        let path = self.checkpoints_dir(dir).join(name);
        if path.is_dir() {
            return Ok(path);
        }
        let container = &self.config.name;
        Err(Error::invalid(format!("container {container} has no checkpoint {name}")))
    }
}

/// Reads what a checkpoint says of itself; nothing else of it is checked.
fn read(path: &Path) -> Result<Checkpoint> {
    let checkpoint: Checkpoint = record::read(&path.join(CONFIG))?;
    if checkpoint.version == VERSION {
        return Ok(checkpoint);
    }
    Err(Error::Damaged {
        object: path.display().to_string(),
        reason: format!("it has version {}, this program reads {VERSION}", checkpoint.version),
    })
}

/// The file for the content of the file system in memory at `target`, the `index`-th one.
fn tmpfs_file(index: usize, target: &Path) -> String {
    match target == Path::new(SHM_TARGET) {
        true => DEVSHM.into(),
        false => format!("tmpfs-{index}.tar"),
    }
}
