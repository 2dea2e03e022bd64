//! The contents of a container's volumes in its checkpoints.
//!
//! Going back puts the contents of the checkpoint in the place of the present ones, which are kept
//! beside until the tasks run, and come back if that fails.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{Stored, create, restore};
use crate::{
    error::{Context, Error, Result},
    record,
    store::{Container, Store},
    volume::Volumes,
};

const DIR: &str = "volumes";

impl Container {
    /// Volumes of which a checkpoint holds the contents. What lies elsewhere, behind a volume with
    /// options, stays there.
    pub(super) fn own_volumes(&self) -> Result<Vec<String>> {
        let volumes = Volumes::new(self.home.clone());
        let mut own = Vec::new();
        for source in self.config.mounts.iter().filter_map(|mount| mount.volume()) {
            if volumes.find(&source.name)?.options.is_empty() && !own.contains(&source.name) {
                own.push(source.name.clone());
            }
        }
        Ok(own)
    }

    pub(super) fn pack_volumes(&self, dir: &Path) -> Result<()> {
        let volumes = Volumes::new(self.home.clone());
        for name in self.own_volumes()? {
            record::make_private_dir(&dir.join(DIR))?;
            create::pack(&volumes.mountpoint(&name), &archive(dir, &name))?;
        }
        Ok(())
    }

    /// Puts the contents of a checkpoint in their place.
    ///
    /// # Errors
    /// [`Error::Invalid`] if another container that runs has one of the volumes.
    pub(super) fn bring_back_volumes(&self, stored: &Stored) -> Result<()> {
        let then = &stored.checkpoint.volumes;
        then.iter().try_for_each(|name| self.refuse_shared(stored.volume_now(name)))?;
        let volumes = Volumes::new(self.home.clone());
        then.iter().try_for_each(|name| {
            let place = Place::of(&volumes, stored.volume_now(name));
            place.fill(&archive(&stored.dir, name))
        })
    }

    fn refuse_shared(&self, name: &str) -> Result<()> {
        let others = Store::new(self.home.clone()).list()?;
        let runs = |other: &Container| other.state().is_ok_and(|state| state.status.is_up());
        let has_it = |other: &&Container| {
            let is_other = other.config.id != self.config.id;
            is_other && other.config.mounts.iter().any(|mount| mount.is_of_volume(name))
        };
        match others.iter().find(|other| has_it(other) && runs(other)) {
            None => Ok(()),
            Some(other) => Err(Error::invalid(format!(
                "volume {name} would go back to its contents of then, but container {} runs on it: \
                 stop that one, or use --ignore-volumes",
                other.config.name
            ))),
        }
    }

    /// Takes the contents from before an unfinished restore back.
    pub(crate) fn undo_volumes(&self) -> Result<()> {
        self.places().iter().try_for_each(Place::undo)
    }

    /// From here on the contents of the checkpoint are the volumes' own.
    pub(super) fn keep_volumes(&self) -> Result<()> {
        self.places().iter().try_for_each(Place::keep)
    }

    fn places(&self) -> Vec<Place> {
        let volumes = Volumes::new(self.home.clone());
        let names = self.config.mounts.iter().filter_map(|mount| mount.volume());
        names.map(|source| Place::of(&volumes, &source.name)).collect()
    }
}

impl Stored {
    /// What a volume is called now in the container that is restored.
    fn volume_now<'a>(&'a self, then: &'a str) -> &'a str {
        self.volumes.get(then).map_or(then, String::as_str)
    }
}

fn archive(dir: &Path, name: &str) -> PathBuf {
    dir.join(DIR).join(format!("{name}.tar"))
}

/// Where a volume's contents lie, and those from before.
struct Place {
    data: PathBuf,
    before: PathBuf,
}

impl Place {
    fn of(volumes: &Volumes, name: &str) -> Place {
        let data = volumes.mountpoint(name);
        Place { before: data.with_file_name("_data.before"), data }
    }

    fn fill(&self, archive: &Path) -> Result<()> {
        let fresh = self.data.with_file_name("_data.new");
        record::remove_tree(&fresh)?;
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&fresh)
            .context("make directory", fresh.display())?;
        let unpacked = restore::unpack(archive, &fresh);
        if unpacked.is_err() {
            record::remove_tree(&fresh)?;
        }
        unpacked?;
        rename(&self.data, &self.before)?;
        rename(&fresh, &self.data)
    }

    fn undo(&self) -> Result<()> {
        if !self.before.exists() {
            return Ok(());
        }
        record::remove_tree(&self.data)?;
        rename(&self.before, &self.data)
    }

    fn keep(&self) -> Result<()> {
        if !self.before.exists() {
            return Ok(());
        }
        let gone = self.data.with_file_name("_data.gone");
        record::remove_tree(&gone)?;
        rename(&self.before, &gone)?;
        record::remove_tree(&gone)
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("rename", from.display())
}
