//! The containers on disk: making, finding, listing, removing.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use stasis_store::{ImageStore, User, Users};

use crate::{
    checkpoint::Stored,
    config::Config,
    error::{Context, Error, Result},
    home::{Home, Place},
    name, networking, record,
    record::Lock,
    rootfs,
    state::State,
    volume::Volumes,
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

    /// Writes a new container down. `config.id` is drawn here, and the name if it is empty.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is taken or not valid.
    pub fn create(&self, mut config: Config) -> Result<Container> {
        record::make_private_dir(&self.home.containers())?;
        config.id = name::draw_id()?;
        self.create_with_id(&mut config)
    }

    fn create_with_id(&self, config: &mut Config) -> Result<Container> {
        let origin = rootfs::origin(config, &self.home)?;
        let volumes = self.volumes().provide(&mut config.mounts, &origin)?;
        let container = self.create_named(config.clone())?;
        self.keep_image_of(&container)?;
        volumes.keep();
        Ok(container)
    }

    /// Writes a container down that was one before, under its own id.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its id or name is taken or not valid.
    pub(crate) fn create_again(&self, mut config: Config) -> Result<Container> {
        record::make_private_dir(&self.home.containers())?;
        if !name::is_id(&config.id) {
            return Err(Error::invalid(format!("{:?} is no id of a container", config.id)));
        }
        if let Ok(there) = self.open(&config.id) {
            return Err(Error::invalid(format!(
                "container {} ({}) is there already: remove it, or use --name for a new one",
                there.config.name,
                there.short_id()
            )));
        }
        self.create_with_id(&mut config)
    }

    /// Whoever removed the image before our record was there could not know of us.
    fn keep_image_of(&self, container: &Container) -> Result<()> {
        let Some(image) = container.config.rootfs.image() else { return Ok(()) };
        if let Err(gone) = self.images().find_id(image) {
            container.remove_record()?;
            return Err(gone.into());
        }
        Ok(())
    }

    pub fn images(&self) -> ImageStore {
        self.home.images()
    }

    /// The containers and checkpoints of each image, which must not be removed.
    ///
    /// # Errors
    /// [`Error::Refused`] if they cannot be listed.
    pub fn users_of_images(&self) -> Result<Users> {
        let mut users = Users::new();
        for container in self.list()? {
            let Some(image) = container.config.rootfs.image() else { continue };
            let name = container.config.name.clone();
            let user = match container.state().is_ok_and(|state| state.status.is_up()) {
                true => User::RunningContainer(name),
                false => User::StoppedContainer(name),
            };
            users.entry(*image).or_default().push(user);
        }
        for Stored { checkpoint, .. } in self.checkpoints().list()? {
            let Some(image) = checkpoint.container.rootfs.image() else { continue };
            let name = format!("{}/{}", checkpoint.container.name, checkpoint.name);
            users.entry(*image).or_default().push(User::Checkpoint(name));
        }
        Ok(users)
    }

    pub fn volumes(&self) -> Volumes {
        Volumes::new(self.home.clone())
    }

    fn create_named(&self, mut config: Config) -> Result<Container> {
        let _names = Lock::take(&self.home.names_lock())?;
        if config.name.is_empty() {
            config.name = draw_free_name(&self.taken_names()?)?;
        }
        self.check_free(&config.name)?;
        if config.hostname.is_empty() {
            config.hostname = config.id[..12].to_owned();
        }
        self.write_new(config)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is taken or not valid.
    pub fn rename(&self, container: &Container, name: &str) -> Result<()> {
        let _names = Lock::take(&self.home.names_lock())?;
        self.check_free(name)?;
        container.change_config(|config| name.clone_into(&mut config.name))?;
        networking::renamed(container, name)
    }

    fn taken_names(&self) -> Result<Vec<String>> {
        Ok(self.list()?.into_iter().map(|container| container.config.name).collect())
    }

    fn check_free(&self, name: &str) -> Result<()> {
        name::check_name("container", name)?;
        if !self.taken_names()?.iter().any(|taken| taken == name) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the container name {name:?} is already in use; remove that container or choose another \
             name"
        )))
    }

    fn write_new(&self, config: Config) -> Result<Container> {
        let place = self.home.place(&config.id);
        let half_made = self.home.containers().join(format!(".new-{}", config.id));
        record::make_private_dir(&half_made)?;
        record::write(&half_made.join("config.json"), &config)?;
        record::write(&half_made.join("state.json"), &State::default())?;
        fs::rename(&half_made, &place.dir).context("create", place.dir.display())?;
        record::sync_dir(&self.home.containers())?;
        Ok(Container { config, place, home: self.home.clone() })
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

fn draw_free_name(taken: &[String]) -> Result<String> {
    for attempt in 0.. {
        let mut name = name::draw_name()?;
        if attempt >= 8 {
            name.push_str(&attempt.to_string());
        }
        if !taken.contains(&name) {
            return Ok(name);
        }
    }
    unreachable!("the loop above has no end but its return")
}
