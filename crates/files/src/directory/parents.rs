//! The checkpoints before, where the contents of pages lie that did not change since.
//!
//! CRIU lets a symbolic link say which directory that is. Who names a directory by hand answers for
//! where its links lead; what came in an archive does not choose directories of this machine, so there
//! they are given and no link is looked at.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::open;
use crate::{Error, Result};

/// Name of the link to the directory of the checkpoint before.
pub(super) const LINK: &str = "parent";

/// How many directories may hang behind each other.
const MAX_DEPTH: usize = 64;

/// Where the directory of the checkpoint before lies, and that of the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parents {
    /// Where the links called `parent` lead.
    #[default]
    Linked,
    /// Here, the youngest first; links are not followed.
    Given(Vec<PathBuf>),
}

impl Parents {
    /// The directory before `dir`, which is the checkpoint itself at depth 0, its parent at depth 1.
    pub(super) fn of(&self, dir: &Path, depth: usize) -> Result<PathBuf> {
        let parent = match self {
            _ if depth >= MAX_DEPTH => {
                let reason = format!("leads through more than {MAX_DEPTH} others");
                return Err(open::corrupt(LINK, reason));
            }
            Parents::Linked => follow(dir)?,
            Parents::Given(dirs) => dirs.get(depth).cloned(),
        };
        parent.ok_or_else(|| missing(LINK.into()))
    }

    /// The same chain as it is seen from the checkpoint after, whose parent is `dir`.
    pub(super) fn before(&self, dir: &Path) -> Parents {
        match self {
            Parents::Linked => Parents::Linked,
            Parents::Given(dirs) => {
                Parents::Given([dir.to_owned()].into_iter().chain(dirs.clone()).collect())
            }
        }
    }
}

pub(super) fn missing(file: String) -> Error {
    Error::Missing { file, needed_for: "pages are in the checkpoint before".into() }
}

fn follow(dir: &Path) -> Result<Option<PathBuf>> {
    let link = dir.join(LINK);
    match fs::read_link(&link) {
        Ok(target) => Ok(Some(dir.join(target))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("follow", link)(error)),
    }
}
