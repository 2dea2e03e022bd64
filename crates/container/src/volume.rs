//! Volumes: directories that outlive containers, below `<root>/volumes`.
//!
//! | path | holds |
//! |---|---|
//! | `NAME/_data` | what containers see; a volume with options is mounted here while one runs |
//! | `NAME/volume.json` | [`Volume`] |
//! | `NAME/lock` | held while something is mounted at `_data`, taken away or filled |
//!
//! Whoever makes a container holds a shared lock on all volumes until its record is on disk; whoever
//! removes a volume holds the exclusive one. So none goes between its choice and its first use.

mod fill;
mod mounting;

use std::{collections::BTreeMap, fs, io::ErrorKind, os::unix::fs::DirBuilderExt, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_enclosure::mount;

use crate::{
    config::{Config, Mount, MountKind, VolumeSource},
    disk_usage,
    error::{Context, Error, Result},
    home::Home,
    name,
    record::{self, Lock},
    store::Store,
};

pub(crate) use fill::Origin;
pub(crate) use mounting::{mount_volumes, unmount_volumes};

/// Docker's label of volumes that nobody named.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
const RECORD: &str = "volume.json";
const DATA: &str = "_data";
/// Names no volume can have.
const STAGE_PREFIX: &str = ".new-";
const GONE_PREFIX: &str = ".gone-";

/// What `volume.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub created: Timestamp,
    pub labels: BTreeMap<String, String>,
    /// `type`, `device` and `o` as mount(8) takes them; none for a plain directory.
    pub options: BTreeMap<String, String>,
}

impl Volume {
    /// Was it made for one container that did not name it?
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }
}

/// All volumes of one [`Home`].
#[derive(Clone, Debug)]
pub struct Volumes {
    home: Home,
}

impl Store {
    /// The volumes of these containers.
    pub fn volumes(&self) -> Volumes {
        Volumes::new(self.home().clone())
    }
}

impl Volumes {
    pub fn new(home: Home) -> Volumes {
        Volumes { home }
    }

    /// Makes a volume, or finds the one that has this name; an empty name is drawn.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name or an option that cannot be.
    pub fn create(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        let _shared = self.share()?;
        self.ensure(name, labels, options)
    }

    /// As [`Volumes::create`], for who holds the shared lock.
    fn ensure(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<Volume> {
        mounting::check_options(options)?;
        let mut labels = labels.clone();
        let name = if name.is_empty() {
            labels.insert(ANONYMOUS_LABEL.into(), String::new());
            name::draw_id()?
        } else {
            check_name(name)?;
            name.to_owned()
        };
        match self.find(&name) {
            Err(Error::NoSuchVolume(_)) => {}
            found => return found,
        }
        let volume = Volume { name, created: Timestamp::now(), labels, options: options.clone() };
        self.write_new(volume)
    }

    /// Two may make the same volume at once: the first one wins, and the other finds it.
    fn write_new(&self, volume: Volume) -> Result<Volume> {
        let target = self.dir(&volume.name);
        let stage = self.home.volumes().join(format!(
            "{STAGE_PREFIX}{}-{}",
            volume.name,
            std::process::id()
        ));
        record::remove_tree(&stage)?;
        record::make_private_dir(&stage)?;
        let data = stage.join(DATA);
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&data)
            .context("make directory", data.display())?;
        record::write(&stage.join(RECORD), &volume)?;
        if let Err(error) = fs::rename(&stage, &target) {
            record::remove_tree(&stage)?;
            let is_there =
                matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty);
            return match is_there {
                true => self.find(&volume.name),
                false => Err(error).context("create", target.display()),
            };
        }
        record::sync_dir(&self.home.volumes())?;
        Ok(volume)
    }

    /// All volumes by name. What cannot be read is passed over, as with containers.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let dir = self.home.volumes();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read", dir.display()),
        };
        let mut found: Vec<Volume> = entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| record::read(&entry.path().join(RECORD)).ok())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Finds a volume by its whole name.
    ///
    /// # Errors
    /// [`Error::NoSuchVolume`], [`Error::Damaged`].
    pub fn find(&self, name: &str) -> Result<Volume> {
        let absent = || Error::NoSuchVolume(name.to_owned());
        name::check_name("volume", name).map_err(|_| absent())?;
        match record::read(&self.dir(name).join(RECORD)) {
            Err(Error::Refused { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(absent())
            }
            other => other,
        }
    }

    /// Where the volume's files lie on the host.
    pub fn mountpoint(&self, name: &str) -> PathBuf {
        self.dir(name).join(DATA)
    }

    /// Names of the containers that have the volume, whether they run or not.
    ///
    /// # Errors
    /// [`Error::Refused`] if the containers cannot be listed.
    pub fn users(&self, name: &str) -> Result<Vec<String>> {
        let containers = Store::new(self.home.clone()).list()?;
        let uses = |config: &Config| config.mounts.iter().any(|mount| mount.is_of_volume(name));
        Ok(containers.into_iter().map(|c| c.config).filter(uses).map(|c| c.name).collect())
    }

    /// Removes a volume with all that is in it.
    ///
    /// # Errors
    /// [`Error::VolumeInUse`] naming the containers that have it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let _alone = self.lock_alone()?;
        self.find(name)?;
        self.remove_unused(name)
    }

    /// Removes all volumes that no container has and `wanted` chooses; gives their names, and how many
    /// bytes they held.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn prune(&self, wanted: impl Fn(&Volume) -> bool) -> Result<(Vec<String>, u64)> {
        let _alone = self.lock_alone()?;
        let mut removed = (Vec::new(), 0);
        for volume in self.list()?.into_iter().filter(wanted) {
            let len_bytes = self.size_bytes(&volume.name);
            match self.remove_unused(&volume.name) {
                Err(Error::VolumeInUse { .. }) => continue,
                other => other?,
            }
            removed.1 += len_bytes;
            removed.0.push(volume.name);
        }
        Ok(removed)
    }

    /// For who holds the exclusive lock.
    fn remove_unused(&self, name: &str) -> Result<()> {
        let users = self.users(name)?;
        if !users.is_empty() {
            return Err(Error::VolumeInUse { name: name.to_owned(), users: users.join(", ") });
        }
        let dir = self.dir(name);
        mount::unmount_all(&dir.join(DATA))?;
        let gone = self.home.volumes().join(format!("{GONE_PREFIX}{name}"));
        record::remove_tree(&gone)?;
        fs::rename(&dir, &gone).context("remove", dir.display())?;
        record::remove_tree(&gone)
    }

    /// Bytes of all files of a volume, each counted once.
    pub fn size_bytes(&self, name: &str) -> u64 {
        disk_usage::of_tree(&self.mountpoint(name))
    }

    /// Makes the volumes of a container that is being made, draws names for those that have none, and
    /// fills the new ones with what the container's root file system has in their place.
    ///
    /// # Errors
    /// What stood in the way; anonymous volumes that were made are gone again.
    pub(crate) fn provide(&self, mounts: &mut [Mount], origin: &Origin) -> Result<Provided> {
        let mut provided =
            Provided { volumes: self.clone(), anonymous: Vec::new(), _shared: self.share()? };
        for mount in mounts {
            let MountKind::Volume(source) = &mut mount.kind else { continue };
            let volume = self.ensure(&source.name, &source.labels, &source.options)?;
            if source.name.is_empty() {
                provided.anonymous.push(volume.name.clone());
                source.name.clone_from(&volume.name);
            }
            fill::fill(self, &volume, source, origin, &mount.target)?;
        }
        Ok(provided)
    }

    /// Removes the anonymous volumes of a container that is gone; those that others have stay.
    pub(crate) fn remove_anonymous(&self, mounts: &[Mount]) -> Result<()> {
        let _alone = self.lock_alone()?;
        for name in mounts.iter().filter_map(Mount::volume).map(|source| &source.name) {
            if !self.find(name).is_ok_and(|volume| volume.is_anonymous()) {
                continue;
            }
            match self.remove_unused(name) {
                Err(Error::VolumeInUse { .. }) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.home.volumes().join(name)
    }

    /// Held while what lies at `_data` is changed.
    fn lock_of(&self, name: &str) -> Result<Lock> {
        Ok(Lock::take(&self.dir(name).join("lock"))?)
    }

    fn share(&self) -> Result<Lock> {
        record::make_private_dir(&self.home.volumes())?;
        Ok(Lock::share(&self.home.volumes_lock())?)
    }

    fn lock_alone(&self) -> Result<Lock> {
        record::make_private_dir(&self.home.volumes())?;
        let lock = Lock::take(&self.home.volumes_lock())?;
        self.remove_abandoned();
        Ok(lock)
    }

    /// Nobody makes or removes a volume now, so what is half made or half removed was abandoned.
    fn remove_abandoned(&self) {
        for entry in fs::read_dir(self.home.volumes()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(STAGE_PREFIX) || name.starts_with(GONE_PREFIX) {
                let _ = record::remove_tree(&entry.path());
            }
        }
    }
}

/// The volumes of a container until its record is on disk: dropped before that, it takes the anonymous
/// ones away again.
pub(crate) struct Provided {
    volumes: Volumes,
    anonymous: Vec<String>,
    _shared: Lock,
}

impl Provided {
    /// The container is there and has them.
    pub fn keep(mut self) {
        self.anonymous.clear();
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // Nobody else knows their names.
        for name in &self.anonymous {
            let _ = record::remove_tree(&self.volumes.dir(name));
        }
    }
}

impl Mount {
    /// The volume that is mounted, if it is one.
    pub fn volume(&self) -> Option<&VolumeSource> {
        match &self.kind {
            MountKind::Volume(source) => Some(source),
            MountKind::Bind { .. } | MountKind::Tmpfs => None,
        }
    }

    pub(crate) fn is_of_volume(&self, name: &str) -> bool {
        self.volume().is_some_and(|source| source.name == name)
    }
}

/// Names of one letter could be mistaken for a drive, so Docker has none.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::invalid(format!(
            "the volume name {name:?} is too short: use at least two letters or digits"
        )));
    }
    name::check_name("volume", name)
}
