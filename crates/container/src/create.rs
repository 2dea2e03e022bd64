//! New containers: their records, their names, and the volumes they come with.

use std::fs;

use crate::{
    config::Config,
    error::{Context, Error, Result},
    name, networking,
    record::{self, Lock},
    rootfs,
    state::State,
    store::{Container, Store},
};

impl Store {
    /// Writes a new container down. `config.id` is drawn here, and the name if it is empty.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is taken or not valid.
    pub fn create(&self, mut config: Config) -> Result<Container> {
        record::make_private_dir(&self.home().containers())?;
        config.id = name::draw_id()?;
        self.create_with_id(&mut config)
    }

    fn create_with_id(&self, config: &mut Config) -> Result<Container> {
        let origin = rootfs::origin(config, self.home())?;
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
        record::make_private_dir(&self.home().containers())?;
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

    fn create_named(&self, mut config: Config) -> Result<Container> {
        let _names = Lock::take(&self.home().names_lock())?;
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
        let _names = Lock::take(&self.home().names_lock())?;
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
        let place = self.home().place(&config.id);
        let half_made = self.home().containers().join(format!(".new-{}", config.id));
        record::make_private_dir(&half_made)?;
        record::write(&half_made.join("config.json"), &config)?;
        record::write(&half_made.join("state.json"), &State::default())?;
        fs::rename(&half_made, &place.dir).context("create", place.dir.display())?;
        record::sync_dir(&self.home().containers())?;
        Ok(Container { config, place, home: self.home().clone() })
    }
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
