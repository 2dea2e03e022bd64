//! Checkpoints in the making: each is built under another name and renamed when all of it is on disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    error::{Context, Result},
    home::Home,
    name, record,
};

/// Names no checkpoint can have.
const STAGE_PREFIX: &str = ".new-";
pub(super) const GONE_PREFIX: &str = ".gone-";

/// A checkpoint that is being built; nothing is left of it unless it is finished.
pub(super) struct Stage {
    pub dir: PathBuf,
    pub target: PathBuf,
    pub id: String,
}

impl Stage {
    /// For one that shall lie among all others.
    pub fn new(home: &Home) -> Result<Stage> {
        let id = name::draw_id()?;
        let parent = home.checkpoints();
        record::make_private_dir(&parent)?;
        sweep(&parent);
        let dir = parent.join(format!("{STAGE_PREFIX}{id}-{}", std::process::id()));
        record::make_private_dir(&dir)?;
        Ok(Stage { dir, target: parent.join(&id), id })
    }

    /// For one that shall lie in a directory of the user's choice, under its name.
    pub fn within(parent: &Path, name: &str) -> Result<Stage> {
        record::make_private_dir(parent)?;
        sweep(parent);
        let stage = parent.join(format!("{STAGE_PREFIX}{name}-{}", std::process::id()));
        record::remove_tree(&stage)?;
        record::make_private_dir(&stage)?;
        Ok(Stage { dir: stage, target: parent.join(name), id: name::draw_id()? })
    }

    pub fn finish(self) -> Result<PathBuf> {
        match self.target.exists() {
            // What was there before is now ours, and goes with us.
            true => renameat_with(CWD, &self.dir, CWD, &self.target, RenameFlags::EXCHANGE)
                .context("replace", self.target.display())?,
            false => {
                fs::rename(&self.dir, &self.target).context("create", self.target.display())?;
            }
        }
        record::sync_dir(self.target.parent().unwrap_or(Path::new("/")))?;
        Ok(self.target.clone())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After `finish` there is nothing of this name, or what it replaced.
        let _ = record::remove_tree(&self.dir);
    }
}

/// Who was killed while making or removing one could not clear up.
pub(super) fn sweep(parent: &Path) {
    remove_abandoned(parent, STAGE_PREFIX);
    remove_abandoned(parent, GONE_PREFIX);
}

/// Who was killed in the middle could not clear up.
pub(super) fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.rsplit('-').next())
            .and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = record::remove_tree(&entry.path());
        }
    }
}
