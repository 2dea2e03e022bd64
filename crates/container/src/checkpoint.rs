//! Checkpoints of containers: objects on disk that outlive their container.
//!
//! One directory each, built under another name and renamed when all of it is on disk. It lies under its
//! id below `checkpoints`, or under its name in a directory of the user's choice; [`layout`] tells what is
//! in it. Here is what a checkpoint says of itself, and what may be asked of one; the files below act.

mod archive;
mod clones;
mod contents;
mod create;
mod fitness;
mod host;
mod image;
mod layout;
mod manifest;
mod moving;
mod pre_checkpoint;
mod reference;
mod remake;
mod restore;
pub mod retention;
mod rewind;
mod rounds;
mod stage;
mod stored;
mod tags;
mod volumes;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_network::Endpoint;

use crate::{
    config::Config,
    error::Error,
    name::{check_name, is_id},
};

pub use archive::{Compression, Fetch, Staged, StagedRound};
pub use clones::{Cloned, Clones, Hostnames, Passing};
pub use contents::Sizes;
pub use fitness::Wish;
pub use host::{Cgroups, Host};
pub use image::is_of_checkpoint;
pub(crate) use moving::Moving;
pub use remake::{Addresses, Remade, Remake, Stays};
pub use restore::Restoring;
pub use rewind::{Present, Rewind, Rewound};
pub use rounds::{Lies, MemoryWritten, Round};
pub use stored::{Checkpoints, Held, Made, Stored};
pub use tags::Tags;

const VERSION: u32 = 2;

/// What `config.json` of a checkpoint says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub version: u32,
    /// Drawn when it is made; 64 hexadecimal digits.
    pub id: String,
    /// No other checkpoint of the same container has it.
    pub name: String,
    pub created: Timestamp,
    /// The checkpoint that the frozen run came from, which may be gone.
    pub parent: Option<Origin>,
    /// All files together.
    pub size_bytes: u64,
    /// Where it was taken; unknown for those that others made.
    pub host: Option<Host>,
    /// The container as it was then.
    pub container: Config,
    /// Where its disk is.
    #[serde(default)]
    pub disk: Disk,
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
    /// Rounds of memory that it builds upon, the youngest first.
    #[serde(default)]
    pub rounds: Vec<Round>,
}

/// Where changes of the root file system, and volumes, are that belong to a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// In the checkpoint, as far as they were wanted.
    #[default]
    Within,
    /// Still with the container: it goes on only there, and only if that has not run meanwhile.
    WithContainer,
}

/// A checkpoint that something came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub id: String,
    /// As it was called then.
    pub name: String,
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
    /// Where it shall lie, if not with all others.
    pub dir: Option<&'a Path>,
    pub fate: Fate,
    pub left_out: LeftOut,
    pub existing: Existing,
    /// When it is given up if it is not whole; the container runs on then.
    pub deadline: Option<Instant>,
    pub memory: MemoryWritten,
}

impl Checkpoint {
    /// What makes it unusable; it comes from a file that anybody may have written.
    fn fault(&self) -> Option<String> {
        if self.version != VERSION {
            return Some(format!("it has version {}, this program reads {VERSION}", self.version));
        }
        let parent = self.parent.as_ref().map(|parent| &parent.id);
        let mut ids = [&self.id, &self.container.id].into_iter().chain(parent);
        if let Some(wrong) = ids.find(|id| !is_id(id)) {
            return Some(format!("{wrong:?} is no id"));
        }
        if let Some(error) =
            self.rounds.iter().find_map(|round| rounds::check_name(&round.name).err())
        {
            return Some(error.to_string());
        }
        let mut names = self.volumes.iter().chain([&self.name, &self.container.name]);
        names.find_map(|name| check_name("checkpoint", name).err()).map(|error| error.to_string())
    }
}

/// Memory without its disk is of no use.
fn disk_elsewhere(checkpoint: &Checkpoint) -> Error {
    let Checkpoint { name, container, .. } = checkpoint;
    Error::invalid(format!(
        "checkpoint {name} was taken by system save or rewind and has no disk of its own: it goes on \
         only in container {}, and only as long as that has not run since",
        container.name
    ))
}
