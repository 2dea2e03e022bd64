//! Rounds of a container's memory, taken while it runs, that a checkpoint builds upon: so it is short.
//!
//! A round is a directory of page contents that lies beside `checkpoint/` in the checkpoint that builds
//! upon it. Until there is one, it lies with its container, see [`super::pre_checkpoint`].
//!
//! An archive of a checkpoint may leave out rounds that lie in archives of their own. It names them by a
//! digest of their checksums, so that only these rounds fit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{layout::IMAGES, manifest::Manifest};
use crate::{
    error::{Context, Error, Result},
    name, record,
};

/// Podman's name for a round, and the only one it knows.
pub(super) const PRE_CHECKPOINT: &str = "pre-checkpoint";

/// A round that a checkpoint builds upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its directory beside `checkpoint/`.
    pub name: String,
    /// Of the checksums of its files.
    pub digest: String,
    pub lies: Lies,
}

/// Where a round lies when its checkpoint is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lies {
    WithTheCheckpoint,
    /// It was exported before.
    InAnArchiveOfItsOwn,
}

/// What memory a checkpoint writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryWritten {
    All,
    /// `--with-previous`
    SinceThePreCheckpoint,
}

/// Rounds on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    /// The youngest first.
    pub named: Vec<Round>,
    /// The directories that they lie in, in the same order.
    pub dirs: Vec<PathBuf>,
    /// Checksums of their files, which are on disk already.
    pub sums: Manifest,
}

impl Rounds {
    /// Gives them to the checkpoint in `dir`: they lie in both places until one is removed.
    pub fn link_into(&self, dir: &Path) -> Result<()> {
        for (round, from) in self.named.iter().zip(&self.dirs) {
            let to = dir.join(&round.name);
            record::make_private_dir(&to)?;
            for entry in fs::read_dir(from).context("read", from.display())? {
                let entry = entry.context("read", from.display())?;
                let target = to.join(entry.file_name());
                fs::hard_link(entry.path(), &target).context("make", target.display())?;
            }
        }
        Ok(())
    }
}

/// A round's name is a directory of the checkpoint that is not one of its others.
pub(super) fn check_name(name: &str) -> Result<()> {
    name::check_name("round", name)?;
    match name == IMAGES || name == "volumes" {
        true => Err(Error::invalid(format!("{name:?} is no name of a round"))),
        false => Ok(()),
    }
}
