//! From a checkpoint to a container that can be restored from it: the one of then, if that is gone, or
//! a new one, any number of times.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stasis_enclosure::cgroup::Cgroup;
use stasis_network::Publish;

use super::{Checkpoint, Disk, LeftOut, Stored, archive, disk_elsewhere};
use crate::{
    config::{Config, Filling, Mount, MountKind, Network, RestartPolicy, Rootfs},
    error::{Error, Result},
    migration::arrival,
    name,
    spec::cgroup_name,
    store::{Container, Store},
};

/// How a checkpoint becomes a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remake<'a> {
    /// A new container of this name, or of a drawn one if it is empty, with an id of its own; `None` for the
    /// container of then.
    pub name: Option<&'a str>,
    /// In the place of the host name it had.
    pub hostname: Option<&'a str>,
    pub left_out: LeftOut,
    pub addresses: Addresses,
    /// In the place of the ports that were published.
    pub publish: Option<&'a [Publish]>,
    /// In the place of the networks it was in.
    pub network: Option<&'a Network>,
    /// Does it go when it stops? `None`: as then. One that goes is not started anew.
    pub auto_remove: Option<bool>,
    /// In addition to those it had.
    pub labels: Option<&'a BTreeMap<String, String>>,
    pub stays: Stays,
}

/// When it is sure that the new container stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stays {
    #[default]
    AtOnce,
    /// It is arriving from another host, which may keep it yet.
    WhenGivenAway,
}

/// What becomes of the addresses that a container had. A new container never gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    #[default]
    Same,
    Fresh,
}

/// A container that waits to be restored.
#[derive(Clone, Debug)]
pub struct Remade {
    pub container: Container,
    /// The checkpoint as it fits this container.
    pub stored: Stored,
}

impl Store {
    /// Makes a container for a checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its image, a name or an id stands in the way. Nothing is left then.
    pub fn remake(&self, stored: &Stored, remake: &Remake<'_>) -> Result<Remade> {
        let mut fitted = stored.clone();
        let mut config = self.fit(&mut fitted.checkpoint, remake)?;
        if remake.name.is_none() {
            self.refuse_present_volumes(&fitted.checkpoint)?;
        }
        // One that still runs under another engine of this machine would share its control group.
        if remake.name.is_some() || is_running_elsewhere(&config.id)? {
            config.id = name::draw_id()?;
        }
        if remake.stays == Stays::WhenGivenAway {
            // A new container's volumes are its own and go with it; others are new here, as was seen.
            let volumes = if remake.name.is_some() { &[][..] } else { &fitted.checkpoint.volumes };
            arrival::mark(self.home(), &config.id, volumes)?;
        }
        let container = self.create_again(config)?;
        let before = std::mem::replace(&mut fitted.checkpoint.container, container.config.clone());
        fitted.volumes = renamed_volumes(&before.mounts, &container.config.mounts);
        match self.bring_log(stored, &container) {
            Ok(()) => Ok(Remade { container, stored: fitted }),
            Err(error) => {
                container.remove_record()?;
                container.remove_anonymous_volumes()?;
                Err(error)
            }
        }
    }

    /// What the new container shall be; the checkpoint is changed to what is wanted of it.
    fn fit(&self, checkpoint: &mut Checkpoint, remake: &Remake<'_>) -> Result<Config> {
        if checkpoint.disk == Disk::WithContainer {
            return Err(disk_elsewhere(checkpoint));
        }
        let mut config = checkpoint.container.clone();
        self.find_image(&config)?;
        if let Some(name) = remake.name {
            name.clone_into(&mut config.name);
            config.id = String::new();
            config.created = Timestamp::now();
        }
        if let Some(hostname) = remake.hostname {
            hostname.clone_into(&mut config.hostname);
        }
        config.auto_remove = remake.auto_remove.unwrap_or(config.auto_remove);
        if remake.auto_remove == Some(true) {
            config.restart = RestartPolicy::No;
        }
        config.labels.extend(remake.labels.cloned().unwrap_or_default());
        if remake.name.is_some() || remake.addresses == Addresses::Fresh {
            checkpoint.endpoints.clear();
            forget_addresses(&mut config);
        }
        if let Some(network) = remake.network {
            if !config.network.is_own() {
                let reason = "it had the host's network or another container's, and has no device \
                              of its own to connect";
                return Err(Error::invalid(reason));
            }
            checkpoint.endpoints.clear();
            config.network = network.clone();
        }
        if let Some(publish) = remake.publish {
            config.network_options.publish = publish.to_vec();
        }
        if remake.left_out.volumes {
            checkpoint.volumes.clear();
        }
        if remake.name.is_some() {
            // They are copied: a new container never writes to what others have.
            config.mounts.iter_mut().for_each(|mount| mount.make_anonymous(&checkpoint.volumes));
        }
        Ok(config)
    }

    /// Refuses a container whose volumes are others' here.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming what stands in the way.
    pub(crate) fn refuse_taken_volumes(&self, config: &Config, name: Option<&str>) -> Result<()> {
        let volumes = self.volumes();
        let own = config.mounts.iter().filter_map(|mount| mount.volume());
        let mut taken = own.filter(|source| volumes.find(&source.name).is_ok());
        match (name, taken.next()) {
            (None, Some(source)) => Err(Error::invalid(format!(
                "volume {} is there already: remove it, or give the container another name for \
                 volumes of its own",
                source.name
            ))),
            (_, _) => Ok(()),
        }
    }

    /// Refuses a container whose image is not here.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the image.
    pub(crate) fn find_image(&self, config: &Config) -> Result<()> {
        let Rootfs::Image { image, name } = &config.rootfs else { return Ok(()) };
        if self.images().find_id(image).is_ok() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the checkpoint stands on image {name} ({}), which is not here: pull or load it first",
            image.short()
        )))
    }

    /// Volumes of the container of then may have become others' since.
    fn refuse_present_volumes(&self, checkpoint: &Checkpoint) -> Result<()> {
        let volumes = self.volumes();
        match checkpoint.volumes.iter().find(|name| volumes.find(name).is_ok()) {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "volume {name} is there already: remove it, or use --ignore-volumes to go on with \
                 what it holds, or --name for a new container with volumes of its own"
            ))),
        }
    }

    /// What the container had printed up to then.
    fn bring_log(&self, stored: &Stored, container: &Container) -> Result<()> {
        let own = stored.dir.join(archive::LOG);
        if own.is_file() {
            return archive::log::from_podman(&own, &container.log_path());
        }
        let Checkpoint { container: then, log_bytes: Some(len_bytes), .. } = &stored.checkpoint
        else {
            return Ok(());
        };
        if then.id == container.config.id {
            return Ok(());
        }
        archive::log::copy(&self.home().place(&then.id).log(), &container.log_path(), *len_bytes)
    }
}

fn is_running_elsewhere(id: &str) -> Result<bool> {
    Ok(!Cgroup::new(cgroup_name(id)).processes()?.is_empty())
}

fn forget_addresses(config: &mut Config) {
    if let Network::Named(connections) = &mut config.network {
        for connection in connections {
            (connection.ip, connection.ip6, connection.mac) = (None, None, None);
        }
    }
}

/// The names that volumes had, with those they have now.
fn renamed_volumes(then: &[Mount], now: &[Mount]) -> BTreeMap<String, String> {
    let pairs = then.iter().zip(now);
    let names = pairs.filter_map(|(then, now)| Some((then.volume()?, now.volume()?)));
    names.map(|(then, now)| (then.name.clone(), now.name.clone())).collect()
}

impl Mount {
    /// A volume among `names` gets a name of its own when the container is made, and nothing from its
    /// image: its contents come from elsewhere.
    fn make_anonymous(&mut self, names: &[String]) {
        if let MountKind::Volume(source) = &mut self.kind
            && names.contains(&source.name)
        {
            source.name = String::new();
            source.filling = Filling::Never;
        }
    }
}
