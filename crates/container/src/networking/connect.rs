//! `network connect` and `network disconnect`, also of containers that run.

use std::os::fd::AsFd;

use stasis_network::Connection;

use super::{files, open_namespace, owner, remember};
use crate::{
    config::{Config, Network},
    error::{Error, Result},
    record,
    store::Container,
};

impl Container {
    /// Brings the container into one more network, now and whenever it starts.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is there already or has no network of its own, [`Error::Network`].
    pub fn connect(&self, connection: Connection) -> Result<()> {
        let _lock = self.command_lock()?;
        let mut config = self.config_now()?;
        let connections = named(&mut config)?;
        if connections.iter().any(|known| known.network == connection.network) {
            let (name, network) = (&self.config.name, &connection.network);
            return Err(Error::invalid(format!(
                "container {name} is in network {network} already"
            )));
        }
        connections.push(connection.clone());
        if let Some(init) = self.init_if_up()? {
            let namespace = open_namespace(init)?;
            let mut ledger = self.home.networks().lock()?;
            if connection.network == stasis_network::DEFAULT_NETWORK {
                ledger.ensure_default()?;
            }
            let endpoints = ledger.connect(&owner(&config), &connection, namespace.as_fd())?;
            remember(self, &endpoints)?;
            files::tell_everybody(&ledger, &self.home)?;
        }
        record::write(&self.place.config(), &config)
    }

    /// Takes the container out of a network, now and for the future.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not in it, [`Error::Network`].
    pub fn disconnect(&self, network: &str) -> Result<()> {
        let _lock = self.command_lock()?;
        let mut config = self.config_now()?;
        let connections = named(&mut config)?;
        let count = connections.len();
        connections.retain(|known| known.network != network);
        if connections.len() == count {
            let name = &self.config.name;
            return Err(Error::invalid(format!("container {name} is not in network {network}")));
        }
        if let Some(init) = self.init_if_up()? {
            let namespace = open_namespace(init)?;
            let mut ledger = self.home.networks().lock()?;
            let id = &self.config.id;
            let endpoints = ledger.disconnect(id, network, Some(namespace.as_fd()))?;
            remember(self, &endpoints)?;
            files::tell_everybody(&ledger, &self.home)?;
            // Who is in no network any more is not among them.
            files::tell(&ledger, &self.home, id)?;
        }
        record::write(&self.place.config(), &config)
    }

    fn init_if_up(&self) -> Result<Option<i32>> {
        let state = self.state()?;
        Ok(state.init.filter(|_| state.status.is_up()).map(|init| init.pid))
    }
}

fn named(config: &mut Config) -> Result<&mut Vec<Connection>> {
    let name = config.name.clone();
    match &mut config.network {
        Network::Named(connections) => Ok(connections),
        Network::Host | Network::None | Network::Container(_) => Err(Error::invalid(format!(
            "container {name} was created without networks of its own, and cannot be connected to any"
        ))),
    }
}
