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

pub(super) const DIR: &str = "volumes";

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

    /// Builds the contents of a checkpoint beside the present ones.
    ///
    /// # Errors
    /// [`Error::Invalid`] if another container that runs has one of the volumes.
    pub(super) fn build_volumes(&self, stored: &Stored) -> Result<()> {
        let volumes = Volumes::new(self.home.clone());
        stored.checkpoint.volumes.iter().try_for_each(|name| {
            let now = stored.volume_now(name);
            self.refuse_shared_volume(now)?;
            let place = Place::of(&volumes, now);
            place.build(&archive(&stored.dir, name))
        })
    }

    /// Takes away what was built and not put in its place.
    pub(super) fn clear_built_volumes(&self) -> Result<()> {
        self.places().iter().try_for_each(|place| record::remove_tree(&place.new))
    }

    /// Puts what was built in the place of the present contents.
    pub(super) fn swap_volumes(&self) -> Result<()> {
        self.places().iter().try_for_each(Place::swap)
    }

    /// Volumes that were built must be nobody else's who runs.
    pub(super) fn refuse_shared(&self, stored: &Stored) -> Result<()> {
        let volumes = Volumes::new(self.home.clone());
        let names = stored.checkpoint.volumes.iter().map(|name| stored.volume_now(name));
        names
            .filter(|name| Place::of(&volumes, name).new.exists())
            .try_for_each(|name| self.refuse_shared_volume(name))
    }

    fn refuse_shared_volume(&self, name: &str) -> Result<()> {
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
    dir.join(file(name))
}

/// The file of a checkpoint that holds the contents of a volume.
pub(super) fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(format!("{name}.tar"))
}

/// Where a volume's contents lie, and those from before.
struct Place {
    data: PathBuf,
    before: PathBuf,
    new: PathBuf,
}

impl Place {
    fn of(volumes: &Volumes, name: &str) -> Place {
        let data = volumes.mountpoint(name);
        let (before, new) = (data.with_file_name("_data.before"), data.with_file_name("_data.new"));
        Place { data, before, new }
    }

    fn build(&self, archive: &Path) -> Result<()> {
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&self.new)
            .context("make directory", self.new.display())?;
        restore::unpack(archive, &self.new)
    }

    fn swap(&self) -> Result<()> {
        if !self.new.exists() {
            return Ok(());
        }
        rename(&self.data, &self.before)?;
        rename(&self.new, &self.data)
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
