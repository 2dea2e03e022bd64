//! What the packet filter shall do, as a function of what is written down.
//!
//! Everything stands in one table of our own, which is replaced whole whenever a lease comes or
//! goes: so nothing is ever left of a container that is gone, and what somebody has changed there is
//! put right. Other tables are neither read for decisions nor changed.
//!
//! | chain | does |
//! |---|---|
//! | `guard` | drops packets of containers for the host's loopback addresses, which published ports make routable |
//! | `prerouting`, `output` | send packets for this host to `publish` |
//! | `publish` | sends packets for published ports to their containers |
//! | `postrouting` | masquerades what leaves a network, and what comes back into it by a published port |
//! | `rest` | drops segments of connections through published ports to containers that a checkpoint has stopped |
//! | `forward` | keeps networks apart from each other and from strangers |

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_netfilter::nftables::InetHookNumber;

use crate::{
    lease::{Endpoint, Family, Lease},
    network::{Network, Reach},
    nftables::{Chain, ChainHook, Rule},
    port::Published,
};

/// Priorities of netfilter's own hooks (`enum nf_ip_hook_priorities`).
const BEFORE_CONNECTIONS: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// The chains of our table; none if nobody needs one. Who rests has an address that nobody has now.
pub(crate) fn chains(networks: &[Network], leases: &[Lease], resting: &[IpAddr]) -> Vec<Chain> {
    let endpoints: Vec<&Endpoint> =
        leases.iter().filter(|lease| lease.is_plugged()).map(|lease| &lease.endpoint).collect();
    let used: Vec<&Network> = networks
        .iter()
        .filter(|network| endpoints.iter().any(|endpoint| endpoint.network == network.name))
        .collect();
    // Where connections are translated no more, the host takes their segments for its own.
    if used.is_empty() && resting.is_empty() {
        return Vec::new();
    }
    let publishes = |network: &&&Network| {
        endpoints.iter().any(|e| e.network == network.name && !e.ports.is_empty())
    };
    let publishing: Vec<&Network> = used.iter().filter(publishes).copied().collect();
    vec![
        // A chain must be there before a rule may jump to it.
        place("publish", publish(&endpoints, Published::is_open)),
        place("publish-local", publish(&endpoints, |port| !port.is_open())),
        at("guard", "filter", InetHookNumber::PreRouting, BEFORE_CONNECTIONS, guard(&publishing)),
        at(
            "prerouting",
            "nat",
            InetHookNumber::PreRouting,
            DESTINATION_NAT,
            vec![Rule::new().for_this_host().jump("publish")],
        ),
        at(
            "output",
            "nat",
            InetHookNumber::LocalOut,
            DESTINATION_NAT,
            vec![
                // There is no way out from there: it is left to the relay.
                Rule::new().destination_in(IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))).accept(),
                Rule::new().for_this_host().jump("publish"),
                Rule::new().for_this_host().jump("publish-local"),
            ],
        ),
        at("forward", "filter", InetHookNumber::Forward, FILTER, forward(&used)),
        at("rest", "filter", InetHookNumber::PostRouting, FILTER, rest(resting)),
        at(
            "postrouting",
            "nat",
            InetHookNumber::PostRouting,
            SOURCE_NAT,
            postrouting(&used, &publishing),
        ),
    ]
}

fn place(name: &'static str, rules: Vec<Rule>) -> Chain {
    Chain { name, hook: None, rules }
}

fn at(
    name: &'static str,
    kind: &'static str,
    at: InetHookNumber,
    priority: i32,
    rules: Vec<Rule>,
) -> Chain {
    Chain { name, hook: Some(ChainHook { kind, at, priority }), rules }
}

fn loopback() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert([127, 0, 0, 0].into(), 8))
}

fn guard(publishing: &[&Network]) -> Vec<Rule> {
    let guard = |network: &&Network| {
        Rule::new().comes_by(&network.device).destination_in(loopback()).drop()
    };
    publishing.iter().map(guard).collect()
}

impl Published {
    /// Can it be reached from other hosts? What is published on a loopback address must not be sent
    /// on before routing: a neighbour could address it, and the kernel would see it too late.
    fn is_open(&self) -> bool {
        !self.host_ip.is_loopback()
    }
}

fn publish(endpoints: &[&Endpoint], wanted: impl Fn(&Published) -> bool) -> Vec<Rule> {
    endpoints
        .iter()
        .flat_map(|endpoint| endpoint.ports.iter().map(move |port| (endpoint, port)))
        .filter(|(_, port)| wanted(port))
        .filter_map(|(endpoint, port)| {
            let address = endpoint.address(Family::of(port.host_ip))?;
            Some(publish_one(port, address.addr()))
        })
        .collect()
}

fn publish_one(published: &Published, address: IpAddr) -> Rule {
    let rule = match published.host_ip {
        any if any.is_unspecified() => Rule::new().of_family(any),
        one => Rule::new().destination_in(IpNet::from(one)),
    };
    let (host_port, port) = (published.host_port, published.port);
    let changed = (host_port != port.number).then_some(port.number);
    rule.for_ports(port.protocol, host_port, host_port).send_to(address, changed)
}

/// Answers and published ports pass. Nobody else comes into a network that he is not in, and nobody
/// passes the border of an internal one.
fn forward(used: &[&Network]) -> Vec<Rule> {
    let internal = used.iter().filter(|network| network.reach == Reach::Internal);
    let mut rules: Vec<Rule> = internal
        .flat_map(|network| {
            let device = &network.device;
            [
                Rule::new().comes_by(device).leaves_not_by(device).drop(),
                Rule::new().comes_not_by(device).leaves_by(device).drop(),
            ]
        })
        .collect();
    rules.push(Rule::new().of_translated().accept());
    rules.push(Rule::new().of_established().accept());
    rules.extend(used.iter().map(|network| {
        Rule::new().comes_not_by(&network.device).leaves_by(&network.device).drop()
    }));
    rules
}

/// Nobody is told that the container is away, and nobody else gets what is meant for it.
fn rest(resting: &[IpAddr]) -> Vec<Rule> {
    let rest =
        |address: &IpAddr| Rule::new().of_translated().destination_in(IpNet::from(*address)).drop();
    resting.iter().map(rest).collect()
}

fn postrouting(used: &[&Network], publishing: &[&Network]) -> Vec<Rule> {
    let outgoing =
        used.iter().filter(|network| network.reach == Reach::Outside).flat_map(|network| {
            let rule = |net| Rule::new().source_in(net).leaves_not_by(&network.device).masquerade();
            network.subnets.iter().map(move |subnet| rule(subnet.net))
        });
    // Who publishes would answer directly to a neighbour, past the translation, and cannot answer at
    // all to a loopback address.
    let incoming = publishing.iter().flat_map(|network| {
        let device = &network.device;
        let hairpin =
            |net| Rule::new().of_translated().source_in(net).leaves_by(device).masquerade();
        let mut rules = vec![Rule::new().source_in(loopback()).leaves_by(device).masquerade()];
        rules.extend(network.subnets.iter().map(|subnet| hairpin(subnet.net)));
        rules
    });
    outgoing.chain(incoming).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lease::{Tenure, tests::lease},
        network::Subnet,
    };

    fn network(name: &str, net: &str, reach: Reach) -> Network {
        let net: IpNet = net.parse().unwrap();
        Network {
            id: "00".repeat(32),
            name: name.into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            device: format!("dev-{name}"),
            subnets: vec![Subnet { net, gateway: net.hosts().next().unwrap(), range: None }],
            reach,
            mtu: None,
            labels: Default::default(),
            options: Default::default(),
        }
    }

    fn rules_of<'a>(chains: &'a [Chain], name: &str) -> &'a [Rule] {
        &chains.iter().find(|chain| chain.name == name).unwrap().rules
    }

    #[test]
    fn without_containers_there_is_no_table() {
        let networks = [network("n", "10.0.0.0/24", Reach::Outside)];
        assert!(chains(&networks, &[], &[]).is_empty());
        let reserved = lease("a", "n", "10.0.0.2/24", Tenure::Reserved);
        assert!(chains(&networks, &[reserved], &[]).is_empty());
    }

    #[test]
    fn connections_stay_translated_while_their_container_is_away() {
        let networks = [network("n", "10.0.0.0/24", Reach::Outside)];
        let chains = chains(&networks, &[], &["10.0.0.2".parse().unwrap()]);
        assert_eq!(rules_of(&chains, "rest").len(), 1);
        let translating = chains.iter().filter_map(|chain| chain.hook.as_ref());
        assert!(translating.filter(|hook| hook.kind == "nat").count() >= 2);
    }

    #[test]
    fn only_loopback_addresses_stay_out_of_prerouting() {
        let networks = [network("n", "10.0.0.0/24", Reach::Outside)];
        let mut lease = lease("a", "n", "10.0.0.2/24", Tenure::Passing);
        let published = |host_ip: &str, host_port| Published {
            host_ip: host_ip.parse().unwrap(),
            host_port,
            port: "80/tcp".parse().unwrap(),
        };
        lease.endpoint.ports = vec![published("0.0.0.0", 8080), published("127.0.0.1", 8081)];
        let chains = chains(&networks, &[lease], &[]);
        assert_eq!(rules_of(&chains, "publish").len(), 1);
        assert_eq!(rules_of(&chains, "publish-local").len(), 1);
        assert_eq!(rules_of(&chains, "guard").len(), 1);
    }

    #[test]
    fn internal_networks_are_not_masqueraded() {
        let networks = [network("n", "10.0.0.0/24", Reach::Internal)];
        let chains = chains(&networks, &[lease("a", "n", "10.0.0.2/24", Tenure::Passing)], &[]);
        assert!(rules_of(&chains, "postrouting").is_empty());
        assert_eq!(rules_of(&chains, "forward").len(), 5);
    }
}
