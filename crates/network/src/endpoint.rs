//! Which addresses a container gets in a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    lease::{Book, Endpoint, Family, Owner},
    mac::Mac,
    network::{Network, Subnet},
    pool,
    port::{Port, Published},
};

/// A wish to be in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub network: String,
    pub ip: Option<Ipv4Addr>,
    pub ip6: Option<Ipv6Addr>,
    pub mac: Option<Mac>,
    /// Further names for its neighbours.
    pub aliases: Vec<String>,
}

impl Connection {
    /// To a network of this name, with whatever address is free.
    pub fn to(network: impl Into<String>) -> Connection {
        Connection { network: network.into(), ..Connection::default() }
    }

    pub(crate) fn has_address(&self) -> bool {
        self.ip.is_some() || self.ip6.is_some()
    }

    fn wish(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.ip.map(IpAddr::V4),
            Family::V6 => self.ip6.map(IpAddr::V6),
        }
    }
}

/// What the container had when it ran before.
#[derive(Clone, Copy, Debug)]
pub enum Former<'a> {
    None,
    /// It gets the same again unless somebody else has it now.
    Prefer(&'a [Endpoint]),
    /// It gets the same again, or does not start: its tasks hold sockets with these addresses.
    Require(&'a [Endpoint]),
}

impl<'a> Former<'a> {
    fn in_network(self, network: &str) -> Option<&'a Endpoint> {
        self.endpoints().iter().find(|endpoint| endpoint.network == network)
    }

    fn endpoints(self) -> &'a [Endpoint] {
        match self {
            Former::None => &[],
            Former::Prefer(endpoints) | Former::Require(endpoints) => endpoints,
        }
    }

    /// How this port was published at this address, which may be more than once.
    pub(crate) fn published(
        self,
        port: Port,
        host_ip: IpAddr,
    ) -> impl Iterator<Item = &'a Published> {
        let ports = self.endpoints().iter().flat_map(|endpoint| &endpoint.ports);
        ports.filter(move |published| published.port == port && published.host_ip == host_ip)
    }
}

/// What [`draw`] decides upon.
pub(crate) struct Draft<'a> {
    pub book: &'a Book,
    pub network: &'a Network,
    pub owner: &'a Owner,
    pub connection: &'a Connection,
    pub former: Former<'a>,
    /// Of the device inside.
    pub number: u32,
}

/// Draws addresses and names the devices. Nothing is written down.
///
/// # Errors
/// [`Error::Taken`] with the holder, [`Error::Exhausted`], or [`Error::Invalid`] for an address that
/// no container can have in this network.
pub(crate) fn draw(draft: &Draft) -> Result<Endpoint> {
    refuse_foreign_family(draft)?;
    let mut addresses = Vec::new();
    for subnet in &draft.network.subnets {
        let address = draw_address(draft, subnet)?;
        addresses.push(IpNet::new(address, subnet.net.prefix_len()).map_err(|_| {
            Error::invalid(format!("network {} has a wrong prefix", draft.network.name))
        })?);
    }
    let mac = draw_mac(draft, &addresses)?;
    let id = &draft.owner.id;
    Ok(Endpoint {
        network: draft.network.name.clone(),
        network_id: draft.network.id.clone(),
        interface: format!("eth{}", draft.number),
        // At most 15 bytes (IFNAMSIZ).
        device: format!("veth{}{}", id.get(..8).unwrap_or(id), draft.number % 100),
        gateways: draft.network.subnets.iter().map(|subnet| subnet.gateway).collect(),
        addresses,
        mac,
        aliases: draft.connection.aliases.clone(),
        ports: Vec::new(),
    })
}

fn refuse_foreign_family(draft: &Draft) -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let Some(wish) = draft.connection.wish(family) else { continue };
        if draft.network.subnet_of(wish).is_none() {
            let nets: Vec<String> =
                draft.network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
            return Err(Error::invalid(format!(
                "address {wish} is not in network {} ({})",
                draft.network.name,
                nets.join(", ")
            )));
        }
    }
    Ok(())
}

fn draw_address(draft: &Draft, subnet: &Subnet) -> Result<IpAddr> {
    let family = Family::of(subnet.gateway);
    let network = &draft.network.name;
    let former = draft
        .former
        .in_network(network)
        .and_then(|endpoint| endpoint.address(family))
        .map(|address| address.addr());
    let required = match draft.former {
        Former::Require(_) => former,
        _ => draft.connection.wish(family),
    };
    if let Some(address) = required {
        return free_or_refused(draft, subnet, address);
    }
    let taken = draft.book.taken(network, &draft.owner.id);
    let again = former.filter(|a| pool::is_usable(subnet, *a) && !taken.contains(a));
    let last = draft.book.last_of(network, family);
    again
        .or_else(|| pool::free_address(subnet, &taken, last))
        .ok_or_else(|| Error::Exhausted(network.clone()))
}

fn free_or_refused(draft: &Draft, subnet: &Subnet, address: IpAddr) -> Result<IpAddr> {
    let network = &draft.network.name;
    let what = format!("address {address} of network {network}");
    if let Some(holder) = draft.book.holder(network, address, &draft.owner.id) {
        return Err(Error::Taken { what, holder: format!("container {}", holder.name) });
    }
    if address == subnet.gateway {
        return Err(Error::Taken { what, holder: "the host itself".into() });
    }
    if !pool::is_usable(subnet, address) {
        return Err(Error::invalid(format!("no container can have {what} ({})", subnet.net)));
    }
    Ok(address)
}

fn draw_mac(draft: &Draft, addresses: &[IpNet]) -> Result<Mac> {
    let former = draft.former.in_network(&draft.network.name).map(|endpoint| endpoint.mac);
    let wish = match draft.former {
        Former::Require(_) => former,
        _ => draft.connection.mac,
    };
    let Some(first) = addresses.first() else {
        return Err(Error::invalid(format!("network {} has no subnet", draft.network.name)));
    };
    let mac = wish.unwrap_or_else(|| Mac::of_address(first.addr()));
    let others = draft.book.of_network(&draft.network.name);
    let holder = others
        .filter(|lease| lease.owner.id != draft.owner.id)
        .find(|lease| lease.endpoint.mac == mac);
    match holder {
        None => Ok(mac),
        Some(lease) => Err(Error::Taken {
            what: format!("hardware address {mac} of network {}", draft.network.name),
            holder: format!("container {}", lease.owner.name),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lease::{Tenure, tests::lease},
        network::Reach,
    };

    fn network() -> Network {
        let net: IpNet = "10.0.0.0/29".parse().unwrap();
        Network {
            id: "00".repeat(32),
            name: "n".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            device: "stasis9".into(),
            subnets: vec![Subnet { net, gateway: "10.0.0.1".parse().unwrap(), range: None }],
            reach: Reach::Outside,
            mtu: None,
            labels: Default::default(),
            options: Default::default(),
        }
    }

    fn draw_for(book: &Book, connection: &Connection, former: Former) -> Result<Endpoint> {
        let owner = Owner { id: "c".repeat(64), name: "c".into() };
        let network = network();
        draw(&Draft { book, network: &network, owner: &owner, connection, former, number: 0 })
    }

    fn book() -> Book {
        let mut book = Book::default();
        book.leases.push(lease("a", "n", "10.0.0.2/29", Tenure::Passing));
        book
    }

    #[test]
    fn an_address_of_somebody_else_is_refused_with_his_name() {
        let wish = |ip: &str| Connection { ip: Some(ip.parse().unwrap()), ..Connection::to("n") };
        let refusal = |ip| draw_for(&book(), &wish(ip), Former::None).unwrap_err().to_string();
        let expect = "address 10.0.0.2 of network n is already in use by container name-of-a";
        assert_eq!(refusal("10.0.0.2"), expect);
        assert!(refusal("10.0.0.1").contains("the host itself"));
        assert!(refusal("10.0.0.7").contains("no container can have"));
        assert!(refusal("10.0.1.2").contains("is not in network n (10.0.0.0/29)"));
        let got = draw_for(&book(), &wish("10.0.0.5"), Former::None).unwrap();
        assert_eq!(got.addresses, ["10.0.0.5/29".parse().unwrap()]);
        assert_eq!(got.mac.to_string(), "02:42:0a:00:00:05");
        assert_eq!(got.device, "vethcccccccc0");
    }

    #[test]
    fn a_former_address_is_preferred_or_required() {
        let former = [lease("c", "n", "10.0.0.2/29", Tenure::Passing).endpoint];
        let any = Connection::to("n");
        let other = draw_for(&book(), &any, Former::Prefer(&former)).unwrap();
        assert_eq!(other.addresses, ["10.0.0.3/29".parse().unwrap()]);
        let refused = draw_for(&book(), &any, Former::Require(&former));
        assert!(matches!(refused, Err(Error::Taken { .. })));
        let free = draw_for(&Book::default(), &any, Former::Require(&former)).unwrap();
        assert_eq!((&free.addresses, free.mac), (&former[0].addresses, former[0].mac));
    }

    #[test]
    fn a_full_network_is_told() {
        let mut book = book();
        for n in 3..=6 {
            book.leases.push(lease(
                &n.to_string(),
                "n",
                &format!("10.0.0.{n}/29"),
                Tenure::Passing,
            ));
        }
        let full = draw_for(&book, &Connection::to("n"), Former::None);
        assert!(matches!(full, Err(Error::Exhausted(_))));
    }
}
