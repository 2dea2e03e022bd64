//! Changing networks and leases: on disk first, then in the kernel.
//!
//! A lease is written down before its device is made, and forgotten after the device is gone. Who is
//! killed in between leaves a lease whose container does not run, and the next one to come sweeps it
//! together with what is left of its device.

use std::{collections::BTreeSet, net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;
use stasis_record::Lock;

use crate::{
    endpoint::{self, Draft},
    error::{Context, Error, Result},
    flow, forwarding,
    held_port::HeldPort,
    lease::{Book, Endpoint, Family, Lease, Owner, Tenancy, Tenure},
    link::Links,
    network::{Network, Reach},
    networks::{self, Networks},
    nftables,
    note::Note,
    plug,
    port::{Publish, Published},
    publish, ruleset,
};

/// The networks and leases of an engine, with nobody else at work on them.
pub struct Ledger {
    disk: Networks,
    networks: Vec<Network>,
    book: Book,
    notes: Vec<Note>,
    _lock: Lock,
}

/// A container that wants into its networks.
pub struct Joining<'a> {
    pub owner: &'a Owner,
    /// The first one that leads outside gets the default route and the published ports.
    pub connections: &'a [Connection],
    pub ports: &'a [Publish],
    pub former: Former<'a>,
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
}

pub use crate::endpoint::{Connection, Former};

impl Networks {
    /// Waits until nobody else changes anything.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn lock(&self) -> Result<Ledger> {
        let lock = self.take_lock()?;
        Ok(Ledger::new(self.clone(), self.list()?, self.read_book()?, lock))
    }
}

impl Ledger {
    fn new(disk: Networks, networks: Vec<Network>, book: Book, lock: Lock) -> Ledger {
        Ledger { disk, networks, book, notes: Vec::new(), _lock: lock }
    }

    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    pub fn leases(&self) -> &[Lease] {
        &self.book.leases
    }

    /// # Errors
    /// [`Error::NoSuchNetwork`].
    pub fn find(&self, key: &str) -> Result<Network> {
        networks::find(self.networks.clone(), key)
    }

    /// Writes a network down. Its bridge is made when the first container comes.
    ///
    /// # Errors
    /// [`Error::Record`] if the disk refuses.
    pub(crate) fn add(&mut self, network: Network) -> Result<Network> {
        self.disk.write_network(&network)?;
        self.networks.push(network.clone());
        Ok(network)
    }

    /// Removes a network that nobody is in.
    ///
    /// # Errors
    /// [`Error::Taken`] with the names of the containers in it, [`Error::NoSuchNetwork`].
    pub fn remove(&mut self, key: &str) -> Result<Network> {
        let network = self.find(key)?;
        if network.name == crate::DEFAULT_NETWORK {
            return Err(Error::invalid("the network bridge is always there and cannot be removed"));
        }
        let inside: BTreeSet<&str> = self
            .book
            .of_network(&network.name)
            .filter(|lease| lease.is_plugged())
            .map(|lease| lease.owner.name.as_str())
            .collect();
        if !inside.is_empty() {
            let names: Vec<&str> = inside.into_iter().collect();
            let what = format!("network {}", network.name);
            return Err(Error::Taken { what, holder: format!("container {}", names.join(", ")) });
        }
        self.remove_bridge_if_empty(&network)?;
        self.book.leases.retain(|lease| lease.endpoint.network != network.name);
        self.book.last.remove(&network.name);
        self.disk.write_book(&self.book)?;
        self.disk.remove_network(&network.name)?;
        self.networks.retain(|other| other.id != network.id);
        Ok(network)
    }

    /// Ends the leases of containers that do not run, and takes away what is left of them.
    ///
    /// # Errors
    /// By the kernel or the disk; what could not be swept is swept the next time.
    pub fn sweep(&mut self, tenancy: impl Fn(&str) -> Tenancy) -> Result<()> {
        let resting = self.book.resting.iter().map(|resting| resting.owner.clone());
        let owners: BTreeSet<String> =
            self.book.leases.iter().map(|lease| lease.owner.id.clone()).chain(resting).collect();
        for id in owners {
            match tenancy(&id) {
                Tenancy::Up => {}
                Tenancy::Down => self.leave(&id)?,
                Tenancy::Gone => self.forget(&id)?,
            }
        }
        Ok(())
    }

    /// Brings a container into its networks.
    ///
    /// # Errors
    /// [`Error::Taken`] for addresses and ports that somebody has, [`Error::NoSuchNetwork`], and the
    /// kernel's refusals. The container is then in none of them.
    pub fn join(&mut self, joining: &Joining) -> Result<(Vec<Endpoint>, Vec<HeldPort>)> {
        self.leave(&joining.owner.id)?;
        let joined = self.try_join(joining);
        if joined.is_err() {
            // The first error is the one to tell.
            let _ = self.leave(&joining.owner.id);
        }
        joined
    }

    fn try_join(&mut self, joining: &Joining) -> Result<(Vec<Endpoint>, Vec<HeldPort>)> {
        self.book.wake(&joining.owner.id);
        for connection in joining.connections {
            self.draw(joining.owner, connection, joining.former)?;
        }
        let held = self.publish(joining)?;
        self.disk.write_book(&self.book)?;
        self.plug_all(joining)?;
        self.apply_rules()?;
        for port in &held {
            port.hold().context("publish port", port.number)?;
        }
        if let Some(at) = self.way_out(&joining.owner.id) {
            if let Err(error) = flow::forget_those_before(&self.book.leases[at].endpoint) {
                tracing::debug!("{error}");
            }
            self.note_tables_in_the_way();
        }
        Ok((self.endpoints_of(&joining.owner.id), held))
    }

    /// Brings a running container into one more network.
    ///
    /// # Errors
    /// As [`Ledger::join`]; the container stays in the others.
    pub fn connect(
        &mut self,
        owner: &Owner,
        connection: &Connection,
        namespace: BorrowedFd<'_>,
    ) -> Result<Vec<Endpoint>> {
        let network = self.find(&connection.network)?;
        if self
            .book
            .of_owner(&owner.id)
            .any(|l| l.endpoint.network == network.name && l.is_plugged())
        {
            let what = format!("container {}", owner.name);
            return Err(Error::invalid(format!("{what} is in network {} already", network.name)));
        }
        let had_way_out = self.way_out(&owner.id).is_some();
        let done = self.try_connect(owner, connection, namespace, had_way_out);
        if done.is_err() {
            let _ = self.disconnect(&owner.id, &network.name, None);
        }
        done.map(|()| self.endpoints_of(&owner.id))
    }

    fn try_connect(
        &mut self,
        owner: &Owner,
        connection: &Connection,
        namespace: BorrowedFd<'_>,
        had_way_out: bool,
    ) -> Result<()> {
        let endpoint = self.draw(owner, connection, Former::None)?;
        self.disk.write_book(&self.book)?;
        let network = self.find(&endpoint.network)?;
        plug::plug(&network, &endpoint, namespace)?;
        if !had_way_out {
            self.set_way_out(&owner.id, namespace)?;
        }
        self.apply_rules()
    }

    /// Takes a container out of one network. With its namespace, its default route goes to the next
    /// network that leads outside, and its published ports do so too.
    ///
    /// # Errors
    /// By the kernel or the disk.
    pub fn disconnect(
        &mut self,
        id: &str,
        network: &str,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<Endpoint>> {
        let network = self.find(network)?;
        self.unplug(id, Some(&network.name))?;
        let ports = self.ports_in(id, &network.name);
        self.book.forget(id, Some(&network.name));
        if let Some(at) = self.way_out(id).filter(|_| !ports.is_empty()) {
            self.book.leases[at].endpoint.ports = ports;
        }
        self.apply_rules()?;
        self.disk.write_book(&self.book)?;
        self.remove_bridge_if_empty(&network)?;
        if let Some(namespace) = namespace {
            self.set_way_out(id, namespace)?;
        }
        Ok(self.endpoints_of(id))
    }

    /// Notes the new name of a container.
    ///
    /// # Errors
    /// [`Error::Record`] by the disk.
    pub fn rename(&mut self, id: &str, name: &str) -> Result<()> {
        for lease in self.book.leases.iter_mut().filter(|lease| lease.owner.id == id) {
            name.clone_into(&mut lease.owner.name);
        }
        self.disk.write_book(&self.book)
    }

    fn ports_in(&self, id: &str, network: &str) -> Vec<Published> {
        let inside = self.book.of_owner(id).find(|lease| lease.endpoint.network == network);
        inside.map(|lease| lease.endpoint.ports.clone()).unwrap_or_default()
    }

    /// Takes a container out of its networks; addresses that the user chose stay reserved.
    ///
    /// # Errors
    /// By the kernel or the disk.
    pub fn leave(&mut self, id: &str) -> Result<()> {
        self.end(id, Book::leave)
    }

    /// Keeps the addresses of a container for it, also those it did not choose, until it joins its
    /// networks again or is forgotten.
    ///
    /// # Errors
    /// By the disk.
    pub fn reserve(&mut self, id: &str) -> Result<()> {
        self.book.reserve(id);
        self.disk.write_book(&self.book)
    }

    /// As [`Ledger::leave`], and nothing stays reserved.
    ///
    /// # Errors
    /// By the kernel or the disk.
    pub fn forget(&mut self, id: &str) -> Result<()> {
        if self.book.wake(id) {
            self.apply_rules()?;
            self.disk.write_book(&self.book)?;
        }
        self.end(id, |book, id| book.forget(id, None))
    }

    /// Notes that a checkpoint is going to stop a container: until it joins again, who is connected to
    /// its published ports hears nothing.
    ///
    /// # Errors
    /// [`Error::Record`] by the disk.
    pub fn rest(&mut self, id: &str) -> Result<()> {
        self.book.rest(id);
        self.disk.write_book(&self.book)
    }

    /// Takes [`Ledger::rest`] back.
    ///
    /// # Errors
    /// [`Error::Record`] by the disk.
    pub fn wake(&mut self, id: &str) -> Result<()> {
        self.book.wake(id);
        self.disk.write_book(&self.book)
    }

    fn end(&mut self, id: &str, change: impl FnOnce(&mut Book, &str)) -> Result<()> {
        let left: Vec<String> =
            self.book.of_owner(id).map(|l| l.endpoint.network.clone()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let was_plugged = self.unplug(id, None)?;
        let before = self.book.clone();
        change(&mut self.book, id);
        if was_plugged {
            self.apply_rules()?;
        } else if self.book == before {
            return Ok(());
        }
        self.disk.write_book(&self.book)?;
        for network in left.iter().filter_map(|name| self.find(name).ok()) {
            self.remove_bridge_if_empty(&network)?;
        }
        Ok(())
    }

    /// Writes a new lease into the book (but not to the disk).
    fn draw(
        &mut self,
        owner: &Owner,
        connection: &Connection,
        former: Former<'_>,
    ) -> Result<Endpoint> {
        let network = self.find(&connection.network)?;
        let interfaces: BTreeSet<&str> = self
            .book
            .of_owner(&owner.id)
            .filter(|lease| lease.is_plugged())
            .map(|lease| lease.endpoint.interface.as_str())
            .collect();
        let number = (0..).find(|n| !interfaces.contains(format!("eth{n}").as_str()));
        let draft = Draft {
            book: &self.book,
            network: &network,
            owner,
            connection,
            former,
            number: number.unwrap_or_default(),
        };
        let endpoint = endpoint::draw(&draft)?;
        let tenure = if connection.has_address() { Tenure::Fixed } else { Tenure::Passing };
        self.book.forget(&owner.id, Some(&network.name));
        self.book.note_last(&network.name, &endpoint.addresses);
        let lease = Lease { owner: owner.clone(), endpoint: endpoint.clone(), tenure };
        self.book.leases.push(lease);
        Ok(endpoint)
    }

    /// Takes the ports and writes them to the endpoint that leads outside.
    fn publish(&mut self, joining: &Joining) -> Result<Vec<HeldPort>> {
        if joining.ports.is_empty() {
            return Ok(Vec::new());
        }
        let Some(at) = self.way_out(&joining.owner.id) else {
            self.notes.push(Note::NotPublished { container: joining.owner.name.clone() });
            return Ok(Vec::new());
        };
        let (ports, held) =
            publish::take(&self.book, &joining.owner.id, at, joining.ports, joining.former)?;
        self.book.leases[at].endpoint.ports = ports;
        Ok(held)
    }

    /// Which lease of a container leads outside.
    fn way_out(&self, id: &str) -> Option<usize> {
        let leads_outside = |lease: &Lease| {
            self.networks.iter().any(|network| {
                network.name == lease.endpoint.network && network.reach == Reach::Outside
            })
        };
        self.book
            .leases
            .iter()
            .position(|lease| lease.owner.id == id && lease.is_plugged() && leads_outside(lease))
    }

    fn plug_all(&mut self, joining: &Joining) -> Result<()> {
        let id = &joining.owner.id;
        let endpoints = self.endpoints_of(id);
        for endpoint in &endpoints {
            plug::plug(&self.find(&endpoint.network)?, endpoint, joining.namespace)?;
        }
        self.set_way_out(id, joining.namespace)
    }

    fn set_way_out(&mut self, id: &str, namespace: BorrowedFd<'_>) -> Result<()> {
        let Some(at) = self.way_out(id) else { return Ok(()) };
        let endpoint = &self.book.leases[at].endpoint;
        for gateway in &endpoint.gateways {
            self.notes.extend(forwarding::enable(Family::of(*gateway))?);
        }
        if !endpoint.ports.is_empty() {
            let network = self.find(&endpoint.network)?;
            forwarding::route_loopback(&network.device)?;
            plug::let_talk_to_itself(endpoint)?;
        }
        plug::set_default_routes(&endpoint.gateways, namespace)
    }

    /// Removes the devices of a container; tells whether it had any.
    fn unplug(&self, id: &str, network: Option<&str>) -> Result<bool> {
        let plugged: Vec<&Endpoint> = self
            .book
            .of_owner(id)
            .filter(|lease| lease.is_plugged())
            .map(|lease| &lease.endpoint)
            .filter(|endpoint| network.is_none_or(|network| endpoint.network == network))
            .collect();
        if plugged.is_empty() {
            return Ok(false);
        }
        let mut links = Links::open()?;
        for endpoint in &plugged {
            links.remove(&endpoint.device)?;
        }
        // A kernel that cannot tell of flows is no reason to leave anything else behind.
        if let Err(error) = flow::forget_those_of(&plugged) {
            tracing::debug!("{error}");
        }
        Ok(true)
    }

    fn remove_bridge_if_empty(&self, network: &Network) -> Result<()> {
        if self.book.of_network(&network.name).any(Lease::is_plugged) {
            return Ok(());
        }
        plug::remove_bridge(network)
    }

    fn apply_rules(&self) -> Result<()> {
        let resting = self.book.resting_addresses();
        let chains = ruleset::chains(&self.networks, &self.book.leases, &resting);
        nftables::replace_table(self.disk.table(), &chains)
    }

    fn endpoints_of(&self, id: &str) -> Vec<Endpoint> {
        let plugged = self.book.of_owner(id).filter(|lease| lease.is_plugged());
        plugged.map(|lease| lease.endpoint.clone()).collect()
    }

    /// Subnets that a new network must not overlap, with their holders' names.
    pub(crate) fn subnets_in_use(&self) -> Result<Vec<(IpNet, String)>> {
        let own = self.networks.iter().flat_map(|network| {
            let name = format!("network {}", network.name);
            network.subnets.iter().map(move |subnet| (subnet.net, name.clone()))
        });
        let mut in_use: Vec<(IpNet, String)> = own.collect();
        for route in Links::open()?.destinations()? {
            in_use.push((route, format!("the route to {route} of this host")));
        }
        Ok(in_use)
    }

    /// Who in the networks of a container has names for it: every neighbour in a network whose
    /// containers know each other.
    pub fn neighbours(&self, id: &str) -> Vec<&Lease> {
        let named = |network: &str| {
            self.networks.iter().any(|known| known.name == network && known.has_names())
        };
        let own: BTreeSet<&str> = self
            .book
            .of_owner(id)
            .filter(|lease| lease.is_plugged() && named(&lease.endpoint.network))
            .map(|lease| lease.endpoint.network.as_str())
            .collect();
        self.book
            .leases
            .iter()
            .filter(|lease| lease.is_plugged() && lease.owner.id != id)
            .filter(|lease| own.contains(lease.endpoint.network.as_str()))
            .collect()
    }

    /// What came up so far beside what was asked for.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Others' rules are not ours to change, but somebody will wonder. A kernel that does not even
    /// tell of them is no reason to fail.
    fn note_tables_in_the_way(&mut self) {
        let tables = nftables::tables_that_drop_forwarded().unwrap_or_default();
        if !tables.is_empty() {
            self.notes.push(Note::ForwardedIsDropped { tables });
        }
    }
}

/// An address that `--add-host NAME:host-gateway` stands for.
pub fn host_address(endpoints: &[Endpoint]) -> Option<IpAddr> {
    endpoints
        .iter()
        .find_map(|endpoint| endpoint.gateway(Family::V4).or_else(|| endpoint.gateway(Family::V6)))
}
