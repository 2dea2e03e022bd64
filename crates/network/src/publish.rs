//! Taking ports of the host for a container.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use rustix::io::Errno;

use crate::{
    endpoint::Former,
    error::{Context, Error, Result},
    held_port::HeldPort,
    lease::{Book, Family},
    port::{Publish, Published},
};

/// Draws of the kernel that may meet a port whose holder has died.
const MAX_DRAWS: usize = 64;

/// Takes all wanted ports for the container `id`, whose lease is number `at`.
///
/// # Errors
/// [`Error::Taken`] with the container that has it, or "another program of this host".
pub(crate) fn take(
    book: &Book,
    id: &str,
    at: usize,
    wishes: &[Publish],
    former: Former<'_>,
) -> Result<(Vec<Published>, Vec<HeldPort>)> {
    let endpoint = &book.leases[at].endpoint;
    let (mut ports, mut held) = (Vec::new(), Vec::new());
    for wish in wishes {
        // Over IPv6 there is the relay, too.
        let addresses = host_addresses(wish)
            .filter(|ip| ip.is_ipv6() || endpoint.address(Family::V4).is_some())
            .collect::<Vec<_>>();
        if addresses.is_empty() {
            return Err(Error::invalid(format!(
                "port {} cannot be published: network {} has no address of that family",
                wish.port, endpoint.network
            )));
        }
        let mut wanted = wish.host_ports.clone();
        for ip in addresses {
            let taking = Taking { book, id, wish, ip, former };
            let (published, port) = match taking.take(wanted.clone(), &ports) {
                Err(error)
                    if wish.host_ip.is_none() && ip.is_ipv6() && is_unknown_family(&error) =>
                {
                    continue;
                }
                taken => taken?,
            };
            // The same port on the addresses of both families.
            wanted = Some(published.host_port..=published.host_port);
            ports.push(published);
            held.push(port);
        }
    }
    Ok((ports, held))
}

fn host_addresses(wish: &Publish) -> impl Iterator<Item = IpAddr> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let everywhere = wish.host_ip.is_none();
    wish.host_ip.into_iter().chain(all.into_iter().filter(move |_| everywhere))
}

/// A kernel without IPv6 has no address on which a port would have to be published.
fn is_unknown_family(error: &Error) -> bool {
    let unknown = Some(Errno::AFNOSUPPORT.raw_os_error());
    matches!(error, Error::Refused { source, .. } if source.raw_os_error() == unknown)
}

struct Taking<'a> {
    book: &'a Book,
    id: &'a str,
    wish: &'a Publish,
    ip: IpAddr,
    former: Former<'a>,
}

impl Taking<'_> {
    fn take(
        &self,
        wanted: Option<RangeInclusive<u16>>,
        own: &[Published],
    ) -> Result<(Published, HeldPort)> {
        let is_wanted = |number: u16| wanted.as_ref().is_none_or(|range| range.contains(&number));
        let is_own = |number| own.iter().any(|other| other.collides(&self.published(number)));
        let mut former =
            self.former.published(self.wish.port, self.ip).map(|published| published.host_port);
        let former = former.find(|number| is_wanted(*number) && !is_own(*number));
        match (self.former, former, wanted) {
            (Former::Require(_), Some(number), _) => self.one(number, own),
            (_, Some(number), None) => self.one(number, own).or_else(|_| self.any(own)),
            (_, _, None) => self.any(own),
            (_, _, Some(range)) => self.first_free(range, own),
        }
    }

    /// The first error is told if none of them is free.
    fn first_free(
        &self,
        range: RangeInclusive<u16>,
        own: &[Published],
    ) -> Result<(Published, HeldPort)> {
        let mut first = None;
        for number in range {
            match self.one(number, own) {
                Err(error @ Error::Taken { .. }) => drop(first.get_or_insert(error)),
                other => return other,
            }
        }
        Err(first.unwrap_or_else(|| Error::invalid("an empty range of ports")))
    }

    fn one(&self, number: u16, own: &[Published]) -> Result<(Published, HeldPort)> {
        let published = self.published(number);
        if let Some(holder) = self.holder(&published, own) {
            return Err(self.taken(&published, holder));
        }
        match HeldPort::take(self.ip, number, self.wish.port) {
            Ok(held) => Ok((published, held)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(self.taken(&published, "another program of this host (EADDRINUSE)".into()))
            }
            Err(error) => Err(error).context("publish a port on", self.name(&published)),
        }
    }

    fn any(&self, own: &[Published]) -> Result<(Published, HeldPort)> {
        for _ in 0..MAX_DRAWS {
            let held =
                HeldPort::take(self.ip, 0, self.wish.port).context("publish a port on", self.ip)?;
            let published = self.published(held.number);
            if self.holder(&published, own).is_none() {
                return Ok((published, held));
            }
        }
        Err(io::Error::from(Errno::ADDRINUSE)).context("publish a port on", self.ip)
    }

    fn published(&self, host_port: u16) -> Published {
        Published { host_ip: self.ip, host_port, port: self.wish.port }
    }

    /// A container that has the port, also one that lost its monitor and with it the socket.
    fn holder(&self, published: &Published, own: &[Published]) -> Option<String> {
        if own.iter().any(|other| other.collides(published)) {
            return Some("the same container".into());
        }
        let others = self.book.leases.iter().filter(|l| l.is_plugged() && l.owner.id != self.id);
        others
            .filter(|lease| lease.endpoint.ports.iter().any(|port| port.collides(published)))
            .map(|lease| format!("container {}", lease.owner.name))
            .next()
    }

    fn taken(&self, published: &Published, holder: String) -> Error {
        Error::Taken { what: format!("port {}", self.name(published)), holder }
    }

    fn name(&self, published: &Published) -> String {
        let socket = std::net::SocketAddr::new(published.host_ip, published.host_port);
        format!("{socket}/{}", published.port.protocol)
    }
}
