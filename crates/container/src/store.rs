//! The containers on disk: finding and listing them, and the record of each.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use stasis_store::ImageStore;

use crate::{
    config::Config,
    error::{Context, Error, Result},
    home::{Home, Place},
    name,
    record::{self, Lock},
    state::State,
};

/// One container on disk.
#[derive(Clone, Debug)]
pub struct Container {
    pub config: Config,
    pub(crate) place: Place,
    pub(crate) home: Home,
}

/// All containers of one [`Home`].
#[derive(Clone, Debug)]
pub struct Store {
    home: Home,
}

impl Store {
    pub fn new(home: Home) -> Store {
        Store { home }
    }

    /// The networks of these containers.
    pub fn networks(&self) -> stasis_network::Networks {
        self.home.networks()
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn images(&self) -> ImageStore {
        self.home.images()
    }

    /// All containers, the newest first. What cannot be read is passed over: it is just being made
    /// or removed, or damaged, and must not stand in the way of the others.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        let ids = self.ids()?;
        let mut found: Vec<Container> = ids.iter().filter_map(|id| self.open(id).ok()).collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.config.created));
        Ok(found)
    }

    fn ids(&self) -> Result<Vec<String>> {
        ids_in(&self.home.containers())
    }

    /// Containers whose record cannot be read, with what is wrong.
    ///
    /// # Errors
    /// [`Error::Refused`] if the directory cannot be read.
    pub fn damaged(&self) -> Result<Vec<(String, Error)>> {
        let mut damaged = Vec::new();
        for id in self.ids()? {
            match self.open(&id).and_then(|container| container.state()) {
                // Removed while we looked.
                Err(_) if !self.home.place(&id).dir.exists() => {}
                Err(error) => damaged.push((id, error)),
                Ok(_) => {}
            }
        }
        Ok(damaged)
    }

    /// Finds a container by its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] or [`Error::Ambiguous`].
    pub fn find(&self, key: &str) -> Result<Container> {
        if name::is_id(key) {
            return self.open(key).map_err(|_| Error::NoSuchContainer(key.to_owned()));
        }
        let mut found = self.list()?;
        if let Some(at) = found.iter().position(|container| container.config.name == key) {
            return Ok(found.swap_remove(at));
        }
        found.retain(|container| !key.is_empty() && container.config.id.starts_with(key));
        match found.len() {
            0 => Err(Error::NoSuchContainer(key.to_owned())),
            1 => Ok(found.swap_remove(0)),
            _ => {
                let names: Vec<String> = found.into_iter().map(|c| c.config.name).collect();
                Err(Error::Ambiguous(key.to_owned(), names.join(", ")))
            }
        }
    }

    /// Opens a container by its full id.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Damaged`].
    pub(crate) fn open(&self, id: &str) -> Result<Container> {
        let place = self.home.place(id);
        let config: Config = record::read(&place.config())?;
        Ok(Container { config, place, home: self.home.clone() })
    }
}

impl Container {
    /// What the container is doing now.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if it was removed meanwhile.
    pub fn state(&self) -> Result<State> {
        self.recorded_state().map(State::observed)
    }

    fn recorded_state(&self) -> Result<State> {
        record::read(&self.place.state()).map_err(|error| match error {
            Error::Refused { source, .. } if source.kind() == ErrorKind::NotFound => {
                Error::NoSuchContainer(self.config.name.clone())
            }
            other => other,
        })
    }

    /// Changes the record under its lock.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if it was removed meanwhile.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let _lock = Lock::take(&self.place.state_lock()).map_err(|error| self.or_gone(error))?;
        let mut state = self.recorded_state()?;
        let result = change(&mut state);
        record::write(&self.place.state(), &state)?;
        Ok(result)
    }

    /// Changes what was fixed when the container was made.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if it was removed meanwhile.
    pub(crate) fn change_config(&self, change: impl FnOnce(&mut Config)) -> Result<()> {
        let _lock = self.command_lock()?;
        let mut config = self.config_now()?;
        change(&mut config);
        record::write(&self.place.config(), &config)
    }

    /// What is on disk now: a container may be changed by others while we hold it.
    pub(crate) fn config_now(&self) -> Result<Config> {
        record::read(&self.place.config()).map_err(|error| self.or_gone(error))
    }

    /// Keeps other commands away from this container as long as the value lives.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if it was removed meanwhile.
    pub(crate) fn command_lock(&self) -> Result<Lock> {
        let lock = Lock::take(&self.place.command_lock()).map_err(|error| self.or_gone(error))?;
        // It may have been removed while we waited.
        if self.place.config().exists() {
            Ok(lock)
        } else {
            Err(Error::NoSuchContainer(self.config.name.clone()))
        }
    }

    fn or_gone(&self, error: impl Into<Error>) -> Error {
        if self.place.dir.exists() {
            error.into()
        } else {
            Error::NoSuchContainer(self.config.name.clone())
        }
    }

    /// The first twelve digits of the id.
    pub fn short_id(&self) -> &str {
        &self.config.id[..12]
    }

    /// Where the log lies.
    pub fn log_path(&self) -> PathBuf {
        self.place.log()
    }

    pub(crate) fn wrong_state(&self, reason: impl Into<String>) -> Error {
        Error::WrongState { name: self.config.name.clone(), reason: reason.into() }
    }
}

/// Ids by which entries of a directory are called; none if it is not there.
pub(crate) fn ids_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("read", dir.display()),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name::is_id(name)).collect())
}
