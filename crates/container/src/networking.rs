//! A container in its networks: it joins them when its init is there and leaves them with its end;
//! and the files that tell it names.

mod connect;
mod files;

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use stasis_network::{
    ConnectionLock, DEFAULT_NETWORK, Endpoint, Family, Former, HeldPort, Joining, Ledger, Note,
    Owner, Publish, Relay, Segments, Target, Tenancy,
};

use crate::{
    config::{Config, Network},
    error::{Context, Error, Result},
    home::{Home, Place},
    monitor::protocol::Mode,
    record,
    state::{State, Status},
    store::{Container, Store},
};

pub(crate) use files::write_files;

/// As many as one message to a monitor can tell of, and more than anybody should want.
const MAX_PUBLISHED: usize = 1024;

/// Refuses what can be known to be impossible when the container is created.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check(config: &Config) -> Result<()> {
    if wishes(config).len() > MAX_PUBLISHED {
        return Err(Error::invalid(format!(
            "more than {MAX_PUBLISHED} published ports; use --network host for so many"
        )));
    }
    if let Network::Named(connections) = &config.network {
        for (index, connection) in connections.iter().enumerate() {
            if connections[..index].iter().any(|other| other.network == connection.network) {
                let name = &connection.network;
                return Err(Error::invalid(format!("network {name} is given more than once")));
            }
        }
    }
    Ok(())
}

/// Ports to publish: those of `-p`, and with `-P` the exposed ones that are not among them.
fn wishes(config: &Config) -> Vec<Publish> {
    let options = &config.network_options;
    let mut wishes = options.publish.clone();
    if options.publish_all {
        for port in &options.expose {
            if !wishes.iter().any(|wish| wish.port == *port) {
                wishes.push(Publish { host_ip: None, host_ports: None, port: *port });
            }
        }
    }
    wishes
}

/// What a container in its networks has of its monitor.
#[derive(Default)]
pub(crate) struct Joined {
    /// Published ports, held as long as this lives.
    pub held_ports: Vec<HeldPort>,
    /// Serves those of them that packets reach in spite of the packet filter.
    pub relay: Option<Relay>,
    /// What the user should hear.
    pub notes: Vec<Note>,
    /// Keeps peers of connections that are to be restored away until these are there.
    pub lock: Option<ConnectionLock>,
}

/// Brings a container whose init waits into its networks.
///
/// # Errors
/// [`Error::Network`]; then it is in none of them.
pub(crate) fn join(container: &Container, mode: &Mode, init: i32) -> Result<Joined> {
    let config = container.config_now()?;
    let Network::Named(connections) = &config.network else {
        container.update(|state| state.endpoints.clear())?;
        return Ok(Joined::default());
    };
    let namespace = open_namespace(init)?;
    let lock = lock_for(mode, namespace.as_fd())?;
    let before = container.state()?.endpoints;
    let former = match mode {
        Mode::Program => Former::Prefer(&before),
        Mode::Restore { endpoints, .. } => Former::Require(endpoints),
    };
    let mut ledger = container.home.networks().lock()?;
    if connections.iter().any(|connection| connection.network == DEFAULT_NETWORK) {
        ledger.ensure_default()?;
    }
    let home = &container.home;
    ledger.sweep(|id| tenancy(home, id))?;
    let (endpoints, held) = ledger.join(&Joining {
        owner: &owner(&config),
        connections,
        ports: &wishes(&config),
        former,
        namespace: namespace.as_fd(),
    })?;
    remember(container, &endpoints)?;
    files::tell_everybody(&ledger, home)?;
    let mut notes = ledger.take_notes();
    notes.extend(files::missing_name_server(&config));
    let relay = Relay::start(&held, relay_target(container))?;
    Ok(Joined { held_ports: held, relay, notes, lock })
}

/// Asked anew for each connection: a container may leave a network while it runs, and others may get its
/// address.
fn relay_target(container: &Container) -> Box<Target> {
    let container = container.clone();
    Box::new(move |port| {
        let endpoints = container.state().ok()?.endpoints;
        let serves = |endpoint: &&Endpoint| endpoint.ports.iter().any(|one| one.port == port);
        let endpoint = endpoints.iter().find(serves)?;
        let address = endpoint.address(Family::V4).or_else(|| endpoint.address(Family::V6))?.addr();
        Some((address, port.number).into())
    })
}

/// An empty network namespace would answer the peers of connections with resets.
fn lock_for(mode: &Mode, namespace: BorrowedFd<'_>) -> Result<Option<ConnectionLock>> {
    match mode {
        Mode::Program => Ok(None),
        Mode::Restore { .. } => {
            let mark = stasis_engine::REPAIR_MARK;
            Ok(Some(ConnectionLock::new(namespace, Segments::All, mark)?))
        }
    }
}

fn remember(container: &Container, endpoints: &[Endpoint]) -> Result<()> {
    container.update(|state| state.endpoints = endpoints.to_vec())
}

fn owner(config: &Config) -> Owner {
    Owner { id: config.id.clone(), name: config.name.clone() }
}

fn open_namespace(init: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{init}/ns/net");
    Ok(File::open(&path).context("open", &path)?.into())
}

/// Takes a container that does not run out of its networks. That it is in none is fine.
///
/// # Errors
/// [`Error::Network`] by the kernel.
pub(crate) fn leave(container: &Container) -> Result<()> {
    change(container, |ledger| Ok(ledger.leave(&container.config.id)?))
}

/// Keeps the addresses of a container for it until it runs again.
///
/// # Errors
/// [`Error::Network`] by the disk.
pub(crate) fn reserve(container: &Container) -> Result<()> {
    change(container, |ledger| Ok(ledger.reserve(&container.config.id)?))
}

/// Notes that a checkpoint is going to stop the container, if it publishes ports: who is connected to
/// them waits.
///
/// # Errors
/// [`Error::Network`] by the disk.
pub(crate) fn rest(container: &Container) -> Result<()> {
    change(container, |ledger| Ok(ledger.rest(&container.config.id)?))
}

/// Takes [`rest`] back.
///
/// # Errors
/// [`Error::Network`] by the disk.
pub(crate) fn wake(container: &Container) -> Result<()> {
    change(container, |ledger| Ok(ledger.wake(&container.config.id)?))
}

/// As [`leave`], and gives back what was reserved for it.
///
/// # Errors
/// [`Error::Network`] by the kernel.
pub(crate) fn forget(container: &Container) -> Result<()> {
    change(container, |ledger| Ok(ledger.forget(&container.config.id)?))
}

/// Tells the neighbours of a container its new name.
///
/// # Errors
/// [`Error::Network`] by the disk.
pub(crate) fn renamed(container: &Container, name: &str) -> Result<()> {
    change(container, |ledger| Ok(ledger.rename(&container.config.id, name)?))
}

/// Does something to what a container has in its networks, if it has anything.
fn change(container: &Container, act: impl FnOnce(&mut Ledger) -> Result<()>) -> Result<()> {
    let networks = container.home.networks();
    if !networks.knows(&container.config.id)? {
        return Ok(());
    }
    let mut ledger = networks.lock()?;
    act(&mut ledger)?;
    files::tell_everybody(&ledger, &container.home)
}

impl Store {
    /// Takes away devices, rules and leases of containers that ended without a word: their monitors
    /// were killed, or the machine was.
    ///
    /// # Errors
    /// [`Error::Network`] by the kernel or the disk.
    pub fn sweep_networks(&self) -> Result<()> {
        let home = self.home();
        let networks = home.networks();
        let tenancy = |id: &str| tenancy(home, id);
        if !networks.needs_sweep(tenancy)? {
            return Ok(());
        }
        let mut ledger = networks.lock()?;
        ledger.sweep(tenancy)?;
        files::tell_everybody(&ledger, home)
    }
}

/// Does the container with this id still need its leases? One whose record cannot be read does.
fn tenancy(home: &Home, id: &str) -> Tenancy {
    let place = home.place(id);
    match record::read::<State>(&place.state()) {
        Ok(state) => {
            let state = state.observed();
            // A monitor that starts or restarts the program needs them too.
            let is_up = state.status.is_up() || state.is_watched();
            if is_up { Tenancy::Up } else { Tenancy::Down }
        }
        Err(_) if place.dir.exists() => Tenancy::Up,
        Err(_) => Tenancy::Gone,
    }
}

/// The container whose network another one shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub place: Place,
    init: i32,
}

impl Shared {
    pub fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.init).into()
    }
}

/// Finds the running container whose network this one wants to share, if it wants that.
///
/// # Errors
/// [`Error::WrongState`] if that one does not run.
pub(crate) fn shared(container: &Container) -> Result<Option<Shared>> {
    let Network::Container(id) = &container.config.network else { return Ok(None) };
    let other = Store::new(container.home.clone())
        .open(id)
        .map_err(|_| Error::NoSuchContainer(id.get(..12).unwrap_or(id).to_owned()))?;
    let state = other.state()?;
    match state.init.filter(|_| matches!(state.status, Status::Running | Status::Paused)) {
        Some(init) => Ok(Some(Shared { place: other.place, init: init.pid })),
        None => Err(other.wrong_state("is not running, so nobody can share its network")),
    }
}
