//! Checkpoints on disk: one directory each, under its id.
//!
//! A checkpoint belongs to nobody but itself: it says of which container it was taken, and stays when
//! that one is removed. Whoever reads one holds a shared lock on its directory; it is removed only by
//! who has the lock alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use stasis_engine::{Parents, Report};

use super::{
    Checkpoint, Origin,
    layout::CONFIG,
    stage::{GONE_PREFIX, sweep},
};
use crate::{
    error::{Context, Error, Result},
    home::Home,
    name,
    record::{self, Lock},
    store::{Container, Store, ids_in},
};

/// A checkpoint, and where its files lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub checkpoint: Checkpoint,
    pub dir: PathBuf,
    /// Volumes by the names they had then, where a container was made that has others.
    pub(super) volumes: BTreeMap<String, String>,
}

/// A checkpoint that was just made.
#[derive(Debug)]
pub struct Made {
    pub stored: Stored,
    pub report: Report,
}

/// Nobody removes the checkpoint as long as this lives.
#[derive(Debug)]
pub struct Held(#[allow(dead_code)] Lock);

/// All checkpoints of one [`Home`].
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pub(super) home: Home,
}

impl Store {
    /// The checkpoints of all containers, also of those that are gone.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints { home: self.home().clone() }
    }
}

impl Stored {
    pub(super) fn new(checkpoint: Checkpoint, dir: PathBuf) -> Stored {
        Stored { checkpoint, dir, volumes: BTreeMap::new() }
    }

    pub(super) fn read(dir: &Path) -> Result<Stored> {
        let checkpoint: Checkpoint = record::read(&dir.join(CONFIG))?;
        match checkpoint.fault() {
            None => Ok(Stored::new(checkpoint, dir.to_owned())),
            Some(reason) => Err(Error::Damaged { object: dir.display().to_string(), reason }),
        }
    }

    /// Keeps it from being removed.
    ///
    /// # Errors
    /// [`Error::NoSuchCheckpoint`] if somebody removed it just now.
    pub fn hold(&self) -> Result<Held> {
        let gone = || Error::NoSuchCheckpoint(self.checkpoint.name.clone());
        let lock = Lock::share_existing(&self.dir).map_err(|_| gone())?;
        // It may have been removed while we waited.
        if self.dir.join(CONFIG).exists() { Ok(Held(lock)) } else { Err(gone()) }
    }

    /// Where the rounds of memory lie that it builds upon.
    pub(super) fn parents(&self) -> Parents {
        let rounds = self.checkpoint.rounds.iter();
        Parents::Given(rounds.map(|round| self.dir.join(&round.name)).collect())
    }

    /// How a later checkpoint names it as its parent.
    pub fn origin(&self) -> Origin {
        let Checkpoint { id, name, .. } = &self.checkpoint;
        Origin { id: id.clone(), name: name.clone() }
    }

    /// The first twelve digits of its id.
    pub fn short_id(&self) -> &str {
        self.checkpoint.id.get(..12).unwrap_or(&self.checkpoint.id)
    }

    /// Was it taken of this container?
    pub fn is_of(&self, container_id: &str) -> bool {
        self.checkpoint.container.id == container_id
    }
}

impl Checkpoints {
    /// All of them, the oldest first. What cannot be read is passed over, see
    /// [`Checkpoints::damaged`].
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut found: Vec<Stored> =
            self.ids()?.iter().filter_map(|id| self.open(id).ok()).collect();
        found.sort_by_key(|stored| stored.checkpoint.created);
        Ok(found)
    }

    /// Those that were taken of one container, by its id; the oldest first.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn of(&self, container_id: &str) -> Result<Vec<Stored>> {
        let mut found = self.list()?;
        found.retain(|stored| stored.is_of(container_id));
        Ok(found)
    }

    /// Opens one by its full id.
    pub(super) fn open(&self, id: &str) -> Result<Stored> {
        let stored = Stored::read(&self.home.checkpoints().join(id))?;
        if stored.checkpoint.id == id {
            return Ok(stored);
        }
        Err(Error::Damaged {
            object: stored.dir.display().to_string(),
            reason: "it says that it has another id".into(),
        })
    }

    /// Directories that are called as checkpoints are.
    fn ids(&self) -> Result<Vec<String>> {
        ids_in(&self.home.checkpoints())
    }

    /// Those whose record cannot be read, with what is wrong.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn damaged(&self) -> Result<Vec<(String, Error)>> {
        let mut damaged = Vec::new();
        for id in self.ids()? {
            match self.open(&id) {
                // Removed while we looked.
                Err(_) if !self.home.checkpoints().join(&id).exists() => {}
                Err(error) => damaged.push((id, error)),
                Ok(_) => {}
            }
        }
        Ok(damaged)
    }

    /// Ids of those in which a container lies frozen: without them its run is lost.
    ///
    /// # Errors
    /// [`Error::Refused`] if the containers cannot be listed.
    pub fn needed(&self) -> Result<BTreeSet<String>> {
        let containers = Store::new(self.home.clone()).list()?;
        let frozen = containers.iter().filter_map(|container| container.state().ok()?.frozen);
        Ok(frozen.map(|frozen| frozen.checkpoint.id).collect())
    }

    /// Removes a checkpoint and its tags. Others that came from it stay whole.
    ///
    /// # Errors
    /// [`Error::CheckpointInUse`] if a container is just being restored from it.
    pub fn remove(&self, stored: &Stored) -> Result<()> {
        remove_dir(stored)?;
        sweep(&self.home.checkpoints());
        self.forget_tags_of(&stored.checkpoint.id)
    }

    /// Removes what a new checkpoint of the same name replaces; what has a tag stays.
    pub(super) fn remove_replaced(&self, new: &Stored) -> Result<()> {
        let tags = self.tags()?;
        for old in self.of(&new.checkpoint.container.id)? {
            let Checkpoint { id, name, .. } = &old.checkpoint;
            let is_tagged = tags.values().any(|tagged| tagged == id);
            if *name == new.checkpoint.name && *id != new.checkpoint.id && !is_tagged {
                self.remove(&old)?;
            }
        }
        Ok(())
    }
}

/// From the moment of the rename on there is no such checkpoint.
fn remove_dir(stored: &Stored) -> Result<()> {
    let Checkpoint { id, name, .. } = &stored.checkpoint;
    let lock = match Lock::try_take_existing(&stored.dir) {
        Err(_) if !stored.dir.exists() => return Err(Error::NoSuchCheckpoint(name.clone())),
        other => other?,
    };
    let Some(_lock) = lock else { return Err(Error::CheckpointInUse(name.clone())) };
    let gone = stored.dir.with_file_name(format!("{GONE_PREFIX}{id}-{}", std::process::id()));
    fs::rename(&stored.dir, &gone).context("remove", stored.dir.display())?;
    record::remove_tree(&gone)
}

impl Container {
    /// The checkpoints of this container, or those that lie in `dir`; the oldest first.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn checkpoints(&self, dir: Option<&Path>) -> Result<Vec<Stored>> {
        let Some(dir) = dir else { return self.own_checkpoints().of(&self.config.id) };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", dir.display()),
        };
        let mut found: Vec<Stored> = entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| Stored::read(&entry.path()).ok())
            .collect();
        found.sort_by_key(|stored| stored.checkpoint.created);
        Ok(found)
    }

    /// The checkpoint of this name of this container, or in `dir`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none.
    pub fn find_checkpoint(&self, name: &str, dir: Option<&Path>) -> Result<Stored> {
        name::check_name("checkpoint", name)?;
        let found = match dir {
            Some(dir) if dir.join(name).is_dir() => Some(Stored::read(&dir.join(name))?),
            Some(_) => None,
            None => {
                let own = self.own_checkpoints().of(&self.config.id)?;
                own.into_iter().rfind(|stored| stored.checkpoint.name == name)
            }
        };
        let container = &self.config.name;
        found.ok_or_else(|| {
            Error::invalid(format!("container {container} has no checkpoint {name}"))
        })
    }

    /// Removes a checkpoint of this container, or one that lies in `dir`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none of that name, or what is there is no checkpoint.
    pub fn remove_checkpoint(&self, name: &str, dir: Option<&Path>) -> Result<()> {
        let _lock = self.command_lock()?;
        let stored = self.find_checkpoint(name, dir)?;
        match dir {
            Some(_) => remove_dir(&stored),
            None => self.own_checkpoints().remove(&stored),
        }
    }

    pub(super) fn own_checkpoints(&self) -> Checkpoints {
        Checkpoints { home: self.home.clone() }
    }
}
