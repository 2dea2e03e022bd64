//! The options of `run` and `create` about networks.

use std::net::IpAddr;

use stasis_container::{
    Store,
    config::{Connection, ExtraHost, HostAddress, Network, NetworkOptions, Port, Resolver},
};
use stasis_network::DEFAULT_NETWORK;
use stasis_oci::RunConfig;

use crate::{
    args::NetworkArgs,
    failure::{Failure, Result},
    parse,
};

/// Names the networks of those who type none.
const DEFAULT_VARIABLE: &str = "STASIS_NETWORK";

/// `--network` and what belongs to one.
pub fn choose(store: &Store, args: &NetworkArgs, hostname: Option<&str>) -> Result<Network> {
    let wanted = wanted(args);
    let names: Vec<&str> =
        wanted.iter().flat_map(|text| split_names(text)).filter(|n| !n.is_empty()).collect();
    let network = match names.as_slice() {
        ["host"] => Network::Host,
        ["none"] => Network::None,
        [one] if one.starts_with("container:") => {
            refuse_own_names(args, hostname)?;
            Network::Container(store.find(&one["container:".len()..])?.config.id)
        }
        _ => return named(store, args, &names),
    };
    refuse_addresses(args, names[0])?;
    Ok(network)
}

/// What is typed, or else the default.
fn wanted(args: &NetworkArgs) -> Vec<String> {
    let default = || std::env::var(DEFAULT_VARIABLE).unwrap_or_else(|_| DEFAULT_NETWORK.to_owned());
    if args.network.is_empty() { vec![default()] } else { args.network.clone() }
}

/// `a,b` are two networks, `name=a,ip=10.0.0.2` is one.
fn split_names(text: &str) -> Vec<&str> {
    if text.contains('=') { vec![text] } else { text.split(',').collect() }
}

fn named(store: &Store, args: &NetworkArgs, names: &[&str]) -> Result<Network> {
    let mut connections: Vec<Connection> =
        names.iter().map(|text| connection(store, text)).collect::<Result<_>>()?;
    let Some(first) = connections.first_mut() else {
        return Err(Failure::new("--network needs the name of a network"));
    };
    first.ip = args.ip.or(first.ip);
    first.ip6 = args.ip6.or(first.ip6);
    first.mac = args.mac_address.or(first.mac);
    for connection in &mut connections {
        connection.aliases.extend(args.network_alias.iter().cloned());
        check_aliases(connection)?;
    }
    Ok(Network::Named(connections))
}

/// `NAME`, or Docker's `name=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC,alias=NAME`.
fn connection(store: &Store, text: &str) -> Result<Connection> {
    if ["host", "none"].contains(&text) || text.starts_with("container:") {
        return Err(Failure::new(format!("{text} cannot be combined with other networks")));
    }
    if !text.contains('=') {
        return Ok(Connection::to(network_name(store, text)?));
    }
    let wrong = |part: &str| Failure::new(format!("{part:?} is no option of a network"));
    let mut connection = Connection::default();
    for part in text.split(',') {
        match part.split_once('=').ok_or_else(|| wrong(part))? {
            ("name", name) => connection.network = network_name(store, name)?,
            ("ip", ip) => connection.ip = Some(ip.parse().map_err(|_| wrong(part))?),
            ("ip6", ip) => connection.ip6 = Some(ip.parse().map_err(|_| wrong(part))?),
            ("mac-address", mac) => connection.mac = Some(mac.parse()?),
            ("alias", name) => connection.aliases.push(name.to_owned()),
            _ => return Err(wrong(part)),
        }
    }
    match connection.network.as_str() {
        "" => Err(Failure::new(format!("{text:?} does not name a network"))),
        _ => Ok(connection),
    }
}

/// The name of a network that exists, for any key that finds it.
fn network_name(store: &Store, key: &str) -> Result<String> {
    match key {
        // Made when it is first used.
        "default" | DEFAULT_NETWORK => Ok(DEFAULT_NETWORK.to_owned()),
        _ => Ok(store.networks().find(key)?.name),
    }
}

/// Aliases go into a file of hosts, where blanks and lines mean something.
pub fn check_aliases(connection: &Connection) -> Result<()> {
    let is_name = |alias: &&String| is_host_name(alias);
    match connection.aliases.iter().find(|alias| !is_name(alias)) {
        Some(alias) => Err(Failure::new(format!("{alias:?} cannot be the name of a host"))),
        None if connection.network == DEFAULT_NETWORK && !connection.aliases.is_empty() => {
            Err(Failure::new("containers have no names in the network bridge")
                .hint("make a network of your own: stasis network create NAME"))
        }
        None => Ok(()),
    }
}

fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

fn refuse_addresses(args: &NetworkArgs, network: &str) -> Result<()> {
    let given = [
        ("--ip", args.ip.is_some()),
        ("--ip6", args.ip6.is_some()),
        ("--mac-address", args.mac_address.is_some()),
        ("--network-alias", !args.network_alias.is_empty()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            Err(Failure::new(format!("{option} means nothing with --network {network}")))
        }
        None => Ok(()),
    }
}

/// Names and ports are those of the container whose network it shares.
fn refuse_own_names(args: &NetworkArgs, hostname: Option<&str>) -> Result<()> {
    let given = [
        ("--hostname", hostname.is_some()),
        ("--publish", !args.publish.is_empty()),
        ("--publish-all", args.publish_all),
        ("--expose", !args.expose.is_empty()),
        ("--dns", !args.dns.is_empty()),
        ("--dns-search", !args.dns_search.is_empty()),
        ("--dns-option", !args.dns_option.is_empty()),
        ("--add-host", !args.add_host.is_empty()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::new(format!(
            "{option} belongs to the container whose network is shared: give it there"
        ))),
        None => Ok(()),
    }
}

pub fn options(args: &NetworkArgs, image: &RunConfig) -> Result<NetworkOptions> {
    tell_of_unpublished(args);
    let publish = parse::publish(&args.publish)?;
    let mut expose = Vec::new();
    for text in image.exposed_ports.keys().chain(&args.expose) {
        expose.extend(Port::parse_range(text)?);
    }
    expose.sort();
    expose.dedup();
    Ok(NetworkOptions {
        publish,
        expose,
        publish_all: args.publish_all,
        resolver: resolver(args)?,
        extra_hosts: args.add_host.iter().map(|text| extra_host(text)).collect::<Result<_>>()?,
    })
}

/// As Docker does it: the container runs, but its user should know.
fn tell_of_unpublished(args: &NetworkArgs) {
    let is_wanted = !args.publish.is_empty() || args.publish_all;
    if let ["host" | "none"] = wanted(args).iter().map(String::as_str).collect::<Vec<_>>()[..]
        && is_wanted
    {
        tracing::warn!("no port is published: the container has no network of its own");
    }
}

fn resolver(args: &NetworkArgs) -> Result<Resolver> {
    let is_word = |text: &&String| !text.is_empty() && !text.contains(char::is_whitespace);
    if let Some(wrong) = args.dns_search.iter().chain(&args.dns_option).find(|w| !is_word(w)) {
        return Err(Failure::new(format!("{wrong:?} cannot stand in resolv.conf")));
    }
    Ok(Resolver {
        servers: args.dns.clone(),
        search: args.dns_search.clone(),
        options: args.dns_option.clone(),
    })
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; the address may hold colons itself.
fn extra_host(text: &str) -> Result<ExtraHost> {
    let wrong = || {
        Failure::new(format!("{text:?} is not a name and its address"))
            .hint("write NAME:ADDRESS or NAME:host-gateway")
    };
    let (name, address) = text.split_once(['=', ':']).ok_or_else(wrong)?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address = match bare {
        "host-gateway" => HostAddress::Gateway,
        _ => HostAddress::Is(bare.parse::<IpAddr>().map_err(|_| wrong())?),
    };
    if !is_host_name(name) {
        return Err(wrong());
    }
    Ok(ExtraHost { name: name.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts() {
        let check = |text: &str, name: &str, address: HostAddress| {
            assert_eq!(extra_host(text).unwrap(), ExtraHost { name: name.into(), address });
        };
        check("a:10.0.0.1", "a", HostAddress::Is([10, 0, 0, 1].into()));
        check("a=::1", "a", HostAddress::Is("::1".parse().unwrap()));
        check("a:[::1]", "a", HostAddress::Is("::1".parse().unwrap()));
        check("host.docker.internal:host-gateway", "host.docker.internal", HostAddress::Gateway);
        for text in ["a", "a:b", ":10.0.0.1", "a b:10.0.0.1", "a\n:10.0.0.1"] {
            assert!(extra_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_networks() {
        assert_eq!(split_names("a,b"), ["a", "b"]);
        assert_eq!(split_names("name=a,ip=10.0.0.1"), ["name=a,ip=10.0.0.1"]);
    }
}
