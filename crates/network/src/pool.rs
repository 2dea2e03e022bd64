//! Which subnets and addresses are free.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::network::Subnet;

/// Subnets for new networks: the first one is the default network's.
fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let net = |a, b, c, len| Ipv4Net::new_assert(Ipv4Addr::new(10, a, b, c), len);
    let small = (89..=255).flat_map(move |a| (0..=255).map(move |b| net(a, b, 0, 24)));
    std::iter::once(net(88, 0, 0, 16)).chain(small)
}

/// The first IPv4 subnet that overlaps none of `taken`.
pub(crate) fn free_subnet(taken: &[IpNet]) -> Option<IpNet> {
    candidates().map(IpNet::V4).find(|net| !taken.iter().any(|other| overlap(net, other)))
}

/// A subnet of unique local IPv6 addresses (RFC 4193), drawn by the network's id.
pub(crate) fn local_subnet_v6(id: &str) -> IpNet {
    let digit = |at: usize| id.get(at..=at).and_then(|d| u16::from_str_radix(d, 16).ok());
    let group = |at: usize| (at..at + 4).fold(0, |sum, at| sum << 4 | digit(at).unwrap_or(0));
    let prefix =
        Ipv6Addr::new(0xfd00 | group(8) & 0xff, group(12), group(16), group(20), 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(prefix, 64))
}

pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Where addresses of a subnet are drawn from.
fn range(subnet: &Subnet) -> IpNet {
    subnet.range.unwrap_or(subnet.net)
}

/// May a container have this address of the subnet at all?
pub(crate) fn is_usable(subnet: &Subnet, address: IpAddr) -> bool {
    let is_edge = match subnet.net {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            address == IpAddr::V4(net.network()) || address == IpAddr::V4(net.broadcast())
        }
        IpNet::V4(_) => false,
        // The address of all routers (RFC 4291).
        IpNet::V6(net) => address == IpAddr::V6(net.network()),
    };
    subnet.net.contains(&address) && address != subnet.gateway && !is_edge
}

/// The next free address behind `last`, and from the beginning again.
///
/// Addresses go round: one that was given back rests for as long as others are left, so that
/// nobody talks to the wrong container.
pub(crate) fn free_address(
    subnet: &Subnet,
    taken: &BTreeSet<IpAddr>,
    last: Option<IpAddr>,
) -> Option<IpAddr> {
    let range = range(subnet);
    let is_free = |address: &IpAddr| is_usable(subnet, *address) && !taken.contains(address);
    let behind = last
        .filter(|last| range.contains(last))
        .and_then(|last| addresses(range, Some(last)).find(is_free));
    behind.or_else(|| addresses(range, None).find(is_free))
}

/// All addresses of a range, or those behind `last`.
fn addresses(range: IpNet, last: Option<IpAddr>) -> Box<dyn Iterator<Item = IpAddr>> {
    match range {
        IpNet::V4(net) => {
            let first = match last {
                Some(IpAddr::V4(last)) => u64::from(u32::from(last)) + 1,
                _ => u64::from(u32::from(net.network())),
            };
            let end = u64::from(u32::from(net.broadcast()));
            // Both lie within 32 bits, `first` at most one above.
            Box::new((first..=end).map(|bits| IpAddr::V4(Ipv4Addr::from(bits as u32))))
        }
        IpNet::V6(net) => {
            let first = match last {
                Some(IpAddr::V6(last)) => u128::from(last).saturating_add(1),
                _ => u128::from(net.network()),
            };
            let end = u128::from(net.broadcast());
            Box::new((first..=end).map(|bits| IpAddr::V6(Ipv6Addr::from(bits))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(net: &str, range: Option<&str>) -> Subnet {
        let net: IpNet = net.parse().unwrap();
        let gateway = crate::create::first_host(net).unwrap();
        Subnet { net, gateway, range: range.map(|range| range.parse().unwrap()) }
    }

    fn draw_all(subnet: &Subnet) -> Vec<String> {
        let (mut taken, mut last, mut drawn) = (BTreeSet::new(), None, Vec::new());
        while let Some(address) = free_address(subnet, &taken, last) {
            taken.insert(address);
            last = Some(address);
            drawn.push(address.to_string());
        }
        drawn
    }

    #[test]
    fn every_address_is_drawn_once_but_those_of_others() {
        assert_eq!(draw_all(&subnet("10.0.0.0/29", None)).len(), 5);
        assert_eq!(
            draw_all(&subnet("10.0.0.0/24", Some("10.0.0.128/30"))),
            ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"]
        );
        assert_eq!(draw_all(&subnet("255.255.255.252/30", None)), ["255.255.255.254"]);
        assert_eq!(subnet("fd00::/64", None).gateway.to_string(), "fd00::1");
        let v6 = subnet("fd00::/64", None);
        assert_eq!(free_address(&v6, &BTreeSet::new(), None).unwrap().to_string(), "fd00::2");
    }

    #[test]
    fn addresses_go_round() {
        let subnet = subnet("10.0.0.0/29", None);
        let last = Some("10.0.0.3".parse().unwrap());
        let address = |last| free_address(&subnet, &BTreeSet::new(), last).unwrap().to_string();
        assert_eq!(address(last), "10.0.0.4");
        assert_eq!(address(Some("10.0.0.6".parse().unwrap())), "10.0.0.2");
        assert_eq!(address(Some("9.9.9.9".parse().unwrap())), "10.0.0.2");
    }

    #[test]
    fn subnets_of_the_host_are_left_alone() {
        let taken = |nets: &[&str]| -> String {
            let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
            free_subnet(&nets).unwrap().to_string()
        };
        assert_eq!(taken(&[]), "10.88.0.0/16");
        assert_eq!(taken(&["10.88.7.0/24"]), "10.89.0.0/24");
        assert_eq!(taken(&["10.88.0.0/16", "10.89.0.0/16"]), "10.90.0.0/24");
        assert!(free_subnet(&["10.0.0.0/8".parse().unwrap()]).is_none());
    }

    #[test]
    fn local_subnets_differ_by_id() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(local_subnet_v6(id).to_string(), "fdab:cdef:123:4567::/64");
    }
}
