//! Who has which address, device and port: `networks/.leases.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    mac::Mac,
    port::{Protocol, Published},
};

/// A container's place in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub network: String,
    pub network_id: String,
    /// The device inside, such as `eth0`.
    pub interface: String,
    /// Its other end on the host.
    pub device: String,
    /// With the length of their subnet's prefix.
    pub addresses: Vec<IpNet>,
    /// The host's addresses in the same subnets.
    pub gateways: Vec<IpAddr>,
    pub mac: Mac,
    pub aliases: Vec<String>,
    pub ports: Vec<Published>,
}

impl Endpoint {
    /// Its address of one family, with the length of the prefix.
    pub fn address(&self, family: Family) -> Option<IpNet> {
        self.addresses.iter().copied().find(|net| Family::of(net.addr()) == family)
    }

    pub fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| Family::of(*gateway) == family)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Whose an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Id of the container.
    pub id: String,
    /// Its name, for others and for messages.
    pub name: String,
}

/// What the owner of leases is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// It runs, or somebody is just starting it.
    Up,
    Down,
    /// There is no such container any more.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub owner: Owner,
    pub endpoint: Endpoint,
    pub tenure: Tenure,
}

/// How long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenure {
    /// Given back when the container stops.
    Passing,
    /// The user chose the address: it is kept when the container stops.
    Fixed,
    /// Kept for a container that does not run.
    Reserved,
}

impl Lease {
    /// Is there a device for it?
    pub fn is_plugged(&self) -> bool {
        self.tenure != Tenure::Reserved
    }
}

/// All leases of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub leases: Vec<Lease>,
    /// Addresses given away last, by network: the next ones are drawn behind them.
    pub last: BTreeMap<String, Vec<IpAddr>>,
    /// Containers that are away with connections to their published ports.
    #[serde(default)]
    pub resting: Vec<Resting>,
}

/// A container that a checkpoint has stopped. Who is connected to its published ports must not hear
/// from the host meanwhile that nobody is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resting {
    /// Id of the container.
    pub owner: String,
    pub addresses: Vec<IpAddr>,
}

impl Book {
    pub fn of_network<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Lease> {
        self.leases.iter().filter(move |lease| lease.endpoint.network == network)
    }

    pub fn of_owner<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Lease> {
        self.leases.iter().filter(move |lease| lease.owner.id == id)
    }

    /// Who has this address of a network, other than `id`?
    pub fn holder(&self, network: &str, address: IpAddr, id: &str) -> Option<&Owner> {
        let has = |lease: &&Lease| lease.endpoint.addresses.iter().any(|n| n.addr() == address);
        let mut inside = self.leases.iter().filter(|lease| lease.endpoint.network == network);
        inside.find(has).map(|lease| &lease.owner).filter(|owner| owner.id != id)
    }

    /// Addresses of a network that `id` cannot get.
    pub fn taken(&self, network: &str, id: &str) -> BTreeSet<IpAddr> {
        let others = self.of_network(network).filter(|lease| lease.owner.id != id);
        others.flat_map(|lease| &lease.endpoint.addresses).map(IpNet::addr).collect()
    }

    pub fn note_last(&mut self, network: &str, addresses: &[IpNet]) {
        self.last.insert(network.to_owned(), addresses.iter().map(IpNet::addr).collect());
    }

    pub fn last_of(&self, network: &str, family: Family) -> Option<IpAddr> {
        let last = self.last.get(network)?;
        last.iter().copied().find(|address| Family::of(*address) == family)
    }

    /// Ends the tenure of a container: what was fixed stays reserved.
    pub fn leave(&mut self, id: &str) {
        self.leases.retain(|lease| lease.owner.id != id || lease.tenure != Tenure::Passing);
        for lease in self.leases.iter_mut().filter(|lease| lease.owner.id == id) {
            lease.tenure = Tenure::Reserved;
            lease.endpoint.ports.clear();
        }
    }

    /// From here on all addresses of a container are as if it had chosen them.
    pub fn reserve(&mut self, id: &str) {
        for lease in self.leases.iter_mut().filter(|lease| lease.owner.id == id) {
            if lease.tenure == Tenure::Passing {
                lease.tenure = Tenure::Fixed;
            }
        }
    }

    /// Notes that a container goes away for a while, if it publishes ports of TCP.
    pub fn rest(&mut self, id: &str) {
        self.wake(id);
        let is_published = |lease: &&Lease| {
            lease.endpoint.ports.iter().any(|published| published.port.protocol == Protocol::Tcp)
        };
        let endpoints = self.of_owner(id).filter(is_published).map(|lease| &lease.endpoint);
        let addresses: Vec<IpAddr> =
            endpoints.flat_map(|endpoint| &endpoint.addresses).map(IpNet::addr).collect();
        if !addresses.is_empty() {
            self.resting.push(Resting { owner: id.to_owned(), addresses });
        }
    }

    /// The container comes back, or never will; tells whether it was away.
    pub fn wake(&mut self, id: &str) -> bool {
        let before = self.resting.len();
        self.resting.retain(|resting| resting.owner != id);
        self.resting.len() != before
    }

    /// Addresses of those that are away, if nobody has got them meanwhile.
    pub fn resting_addresses(&self) -> Vec<IpAddr> {
        let plugged = self.leases.iter().filter(|lease| lease.is_plugged());
        let taken: BTreeSet<IpAddr> =
            plugged.flat_map(|lease| &lease.endpoint.addresses).map(IpNet::addr).collect();
        let resting = self.resting.iter().flat_map(|resting| &resting.addresses);
        resting.copied().filter(|address| !taken.contains(address)).collect()
    }

    /// Ends all that a container has, in one network or everywhere.
    pub fn forget(&mut self, id: &str, network: Option<&str>) {
        self.leases.retain(|lease| {
            lease.owner.id != id || network.is_some_and(|network| lease.endpoint.network != network)
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn lease(id: &str, network: &str, address: &str, tenure: Tenure) -> Lease {
        let address: IpNet = address.parse().unwrap();
        Lease {
            owner: Owner { id: id.into(), name: format!("name-of-{id}") },
            endpoint: Endpoint {
                network: network.into(),
                network_id: "00".into(),
                interface: "eth0".into(),
                device: format!("veth{id}"),
                addresses: vec![address],
                gateways: Vec::new(),
                mac: Mac::of_address(address.addr()),
                aliases: Vec::new(),
                ports: Vec::new(),
            },
            tenure,
        }
    }

    #[test]
    fn reserved_addresses_outlive_the_run_once() {
        let mut book = Book::default();
        book.leases.push(lease("a", "n", "10.0.0.2/24", Tenure::Passing));
        book.reserve("a");
        book.leave("a");
        assert_eq!(book.taken("n", "c").len(), 1);
        assert_eq!(book.leases[0].tenure, Tenure::Reserved);
    }

    #[test]
    fn who_is_away_keeps_no_address_from_others() {
        let mut book = Book::default();
        let mut published = lease("a", "n", "10.0.0.2/24", Tenure::Passing);
        published.endpoint.ports = vec![Published {
            host_ip: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
            port: "80/tcp".parse().unwrap(),
        }];
        book.leases.push(published);
        book.leases.push(lease("b", "n", "10.0.0.3/24", Tenure::Passing));
        book.rest("a");
        book.rest("b");
        assert!(book.resting_addresses().is_empty(), "it is still there");
        book.leave("a");
        book.leave("b");
        assert_eq!(book.resting_addresses(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert!(book.taken("n", "c").is_empty());
        book.leases.push(lease("c", "n", "10.0.0.2/24", Tenure::Passing));
        assert!(book.resting_addresses().is_empty(), "somebody else has it");
        assert!(book.wake("a") && !book.wake("b"));
    }

    #[test]
    fn only_chosen_addresses_outlive_the_run() {
        let mut book = Book::default();
        book.leases.push(lease("a", "n", "10.0.0.2/24", Tenure::Passing));
        book.leases.push(lease("b", "n", "10.0.0.3/24", Tenure::Fixed));
        book.leave("a");
        book.leave("b");
        assert!(book.taken("n", "c").iter().eq(["10.0.0.3".parse::<IpAddr>().unwrap()].iter()));
        assert!(book.taken("n", "b").is_empty(), "its own reservation is no obstacle");
        let address = "10.0.0.3".parse().unwrap();
        assert_eq!(book.holder("n", address, "c").unwrap().name, "name-of-b");
        assert_eq!(book.holder("n", address, "b"), None);
        book.forget("b", Some("other"));
        assert_eq!(book.leases.len(), 1);
        book.forget("b", None);
        assert!(book.leases.is_empty());
    }
}
