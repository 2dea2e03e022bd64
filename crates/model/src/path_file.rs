//! Files that have a path, or had one.

use std::path::PathBuf;

use crate::{FileId, GhostId, NsPid};

/// A file with a path: regular file, directory, device, `O_PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFile {
    pub path: PathBuf,
    /// `None`: do not seek.
    pub position: Option<u64>,
    /// Size in bytes that must be found again; only for regular files that are not merely appended to.
    pub size: Option<u64>,
    /// `st_mode` that must be found again.
    pub mode: Option<u32>,
    /// ELF build id as words.
    pub build_id: Vec<u32>,
    pub mount: Option<i32>,
    /// What to do first, because the path leads nowhere any more.
    pub remap: Option<Remap>,
}

/// How a file without its name comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remap {
    /// The content is stored.
    Ghost(GhostId),
    /// Another link to it was made, which this file names.
    Linked(FileId),
    /// Below `/proc` of a process that is dead.
    DeadProcess(NsPid),
}
