//! `network`: create, ls, inspect, rm, connect, disconnect, prune.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stasis_container::{
    Store, check_name,
    config::{Connection, Network as Mode},
};
use stasis_network::{
    Creation, DEFAULT_NETWORK, Error as NetworkError, Families, Family, Lease, Network, Reach,
};

use super::objects;
use crate::{
    args::{
        NetworkCommand, NetworkConnectArgs, NetworkCreateArgs, NetworkDisconnectArgs,
        NetworkInspectArgs, NetworkLsArgs, NetworkPruneArgs, NetworkRmArgs,
    },
    confirm, create,
    failure::{Failure, Result},
    listing::{Listing, Look},
    parse, time,
};

const NETWORKS: Listing<'_> = Listing {
    titles: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    columns: &["ID", "Name", "Driver", "Scope"],
    id: "ID",
};

pub fn run(store: &Store, command: NetworkCommand) -> Result<i32> {
    match command {
        NetworkCommand::Create(args) => create(store, &args),
        NetworkCommand::Ls(args) => list(store, &args),
        NetworkCommand::Inspect(args) => inspect(store, &args),
        NetworkCommand::Rm(args) => remove(store, &args),
        NetworkCommand::Connect(args) => connect(store, &args),
        NetworkCommand::Disconnect(args) => disconnect(store, &args),
        NetworkCommand::Prune(args) => prune(store, &args),
    }
}

fn create(store: &Store, args: &NetworkCreateArgs) -> Result<i32> {
    if args.driver != "bridge" {
        return Err(Failure::new(format!("networks of type {:?} are not supported", args.driver))
            .hint("use -d bridge, or run containers with --network host"));
    }
    check_name("network", &args.name)?;
    let options = args.options.iter().map(|option| match option.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::new(format!("the option {option:?} has no value"))),
    });
    let creation = Creation {
        name: args.name.clone(),
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ranges: args.ip_range.clone(),
        families: if args.ipv6 { Families::Both } else { Families::V4 },
        reach: if args.internal { Reach::Internal } else { Reach::Outside },
        labels: parse::labels(&args.label),
        options: options.collect::<Result<_>>()?,
    };
    let mut ledger = store.networks().lock()?;
    // First of all, so that the default network has its usual subnet.
    ledger.ensure_default()?;
    say!("{}", ledger.create(&creation)?.id);
    Ok(0)
}

/// All networks, also the default one that nobody has used yet.
fn networks(store: &Store) -> Result<Vec<Network>> {
    let networks = store.networks();
    let list = networks.list()?;
    if list.iter().any(|network| network.name == DEFAULT_NETWORK) {
        return Ok(list);
    }
    networks.lock()?.ensure_default()?;
    Ok(networks.list()?)
}

fn find(store: &Store, key: &str) -> Result<Network> {
    networks(store)?;
    Ok(store.networks().find(if key == "default" { DEFAULT_NETWORK } else { key })?)
}

fn list(store: &Store, args: &NetworkLsArgs) -> Result<i32> {
    let filters: Vec<Filter> =
        args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_>>()?;
    let used = used_networks(store)?;
    let rows: Vec<Value> = networks(store)?
        .iter()
        .map(|network| row(network, args.no_trunc))
        .chain([pseudo("host", "host"), pseudo("none", "null")])
        .filter(|row| filters.iter().all(|filter| filter.matches(row, &used)))
        .collect();
    NETWORKS.print(&rows, Look::of(args.quiet, args.format.as_deref()))?;
    Ok(0)
}

fn row(network: &Network, is_whole: bool) -> Value {
    let labels: Vec<String> = network.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let has_v6 = network.subnets.iter().any(|subnet| subnet.gateway.is_ipv6());
    json!({
        "ID": if is_whole { &network.id } else { &network.id[..12] },
        "Name": network.name,
        "Driver": "bridge",
        "Scope": "local",
        "IPv4": "true",
        "IPv6": has_v6.to_string(),
        "Internal": (network.reach == Reach::Internal).to_string(),
        "Labels": labels.join(","),
        "CreatedAt": time::local(network.created),
    })
}

/// What can be given to `--network` but is no network of ours.
fn pseudo(name: &str, driver: &str) -> Value {
    json!({
        "ID": name, "Name": name, "Driver": driver, "Scope": "local", "IPv4": "false",
        "IPv6": "false", "Internal": "false", "Labels": "", "CreatedAt": "",
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Field(&'static str, String),
    Name(String),
    Id(String),
    Label(String),
    Builtin(bool),
    Dangling(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter> {
        let wrong = || {
            Failure::new(format!("{text:?} is not a filter"))
                .hint("use name=, id=, driver=, scope=, label=, type= or dangling=")
        };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok(match (key, value) {
            ("name", _) => Filter::Name(value.into()),
            ("id", _) => Filter::Id(value.into()),
            ("driver", _) => Filter::Field("Driver", value.into()),
            ("scope", _) => Filter::Field("Scope", value.into()),
            ("label", _) => Filter::Label(value.into()),
            ("type", "builtin") => Filter::Builtin(true),
            ("type", "custom") => Filter::Builtin(false),
            ("dangling", "true" | "1") => Filter::Dangling(true),
            ("dangling", "false" | "0") => Filter::Dangling(false),
            _ => return Err(wrong()),
        })
    }

    fn matches(&self, row: &Value, used: &[String]) -> bool {
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let is_builtin = ["bridge", "host", "none"].contains(&text("Name"));
        match self {
            Filter::Field(field, value) => text(field) == value,
            Filter::Name(part) => text("Name").contains(part.as_str()),
            Filter::Id(prefix) => text("ID").starts_with(prefix.as_str()),
            Filter::Label(wanted) => text("Labels")
                .split(',')
                .any(|label| label == wanted || label.split('=').next() == Some(wanted.as_str())),
            Filter::Builtin(wanted) => is_builtin == *wanted,
            Filter::Dangling(wanted) => {
                let is_used = is_builtin || used.iter().any(|name| name == text("Name"));
                is_used != *wanted
            }
        }
    }
}

/// Names of networks that containers want to be in, running or not.
fn used_networks(store: &Store) -> Result<Vec<String>> {
    let containers = store.list()?;
    let connections = containers.into_iter().flat_map(|container| match container.config.network {
        Mode::Named(connections) => connections,
        Mode::Host | Mode::None | Mode::Container(_) => Vec::new(),
    });
    Ok(connections.map(|connection| connection.network).collect())
}

fn inspect(store: &Store, args: &NetworkInspectArgs) -> Result<i32> {
    let leases = store.networks().leases()?;
    objects::print(&args.networks, args.format.as_deref(), |key| {
        Ok(describe(&find(store, key)?, &leases))
    })
}

fn describe(network: &Network, leases: &[Lease]) -> Value {
    let inside =
        leases.iter().filter(|lease| lease.endpoint.network == network.name && lease.is_plugged());
    let containers: Map<String, Value> =
        inside.map(|lease| (lease.owner.id.clone(), describe_inside(lease))).collect();
    let subnets: Vec<Value> = network
        .subnets
        .iter()
        .map(|subnet| {
            let mut config = json!({ "Subnet": subnet.net, "Gateway": subnet.gateway });
            if let Some(range) = subnet.range {
                config["IPRange"] = json!(range);
            }
            config
        })
        .collect();
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": true,
        "EnableIPv6": network.subnets.iter().any(|subnet| subnet.gateway.is_ipv6()),
        "IPAM": { "Driver": "default", "Options": {}, "Config": subnets },
        "Internal": network.reach == Reach::Internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options(network),
        "Labels": network.labels,
    })
}

/// With the device, which is there also if nobody asked for its name.
fn options(network: &Network) -> BTreeMap<String, String> {
    let mut options = network.options.clone();
    options.insert("com.docker.network.bridge.name".into(), network.device.clone());
    options
}

fn describe_inside(lease: &Lease) -> Value {
    let address = |family| {
        lease.endpoint.address(family).map_or_else(String::new, |address| address.to_string())
    };
    json!({
        "Name": lease.owner.name,
        "EndpointID": lease.endpoint.device,
        "MacAddress": lease.endpoint.mac.to_string(),
        "IPv4Address": address(Family::V4),
        "IPv6Address": address(Family::V6),
    })
}

fn remove(store: &Store, args: &NetworkRmArgs) -> Result<i32> {
    let mut code = 0;
    for key in &args.networks {
        match store.networks().lock().and_then(|mut ledger| ledger.remove(key)) {
            Ok(_) => say!("{key}"),
            Err(NetworkError::NoSuchNetwork(_)) if args.force => {}
            Err(error @ NetworkError::Taken { .. }) => {
                let hint = "stop them, or take them out with stasis network disconnect";
                eprintln!("{}", Failure::from(error).hint(hint));
                code = 1;
            }
            Err(error) => {
                eprintln!("{}", Failure::from(error));
                code = 1;
            }
        }
    }
    Ok(code)
}

fn connect(store: &Store, args: &NetworkConnectArgs) -> Result<i32> {
    let connection = Connection {
        network: find(store, &args.network)?.name,
        ip: args.ip,
        ip6: args.ip6,
        mac: args.mac_address,
        aliases: args.alias.clone(),
    };
    create::check_aliases(&connection)?;
    store.find(&args.container)?.connect(connection)?;
    Ok(0)
}

fn disconnect(store: &Store, args: &NetworkDisconnectArgs) -> Result<i32> {
    let network = find(store, &args.network)?;
    match store.find(&args.container)?.disconnect(&network.name) {
        Err(stasis_container::Error::Invalid(_)) if args.force => Ok(0),
        other => Ok(other.map(|()| 0)?),
    }
}

fn prune(store: &Store, args: &NetworkPruneArgs) -> Result<i32> {
    let filters: Vec<PruneFilter> =
        args.filter.iter().map(|text| PruneFilter::parse(text)).collect::<Result<_>>()?;
    let warning = "This will remove all custom networks not used by at least one container.";
    if !args.force && !confirm::ask(warning)? {
        return Ok(0);
    }
    let removed = prune_unused(store, |network| filters.iter().all(|f| f.matches(network)))?;
    if !removed.is_empty() {
        say!("Deleted Networks:\n{}\n", removed.join("\n"));
    }
    Ok(0)
}

/// Removes the networks that no container wants and that are `wanted`; gives their names.
pub fn prune_unused(store: &Store, wanted: impl Fn(&Network) -> bool) -> Result<Vec<String>> {
    let used = used_networks(store)?;
    let mut ledger = store.networks().lock()?;
    let unused = |network: &&Network| {
        network.name != DEFAULT_NETWORK && !used.contains(&network.name) && wanted(network)
    };
    let names: Vec<String> =
        ledger.networks().iter().filter(unused).map(|network| network.name.clone()).collect();
    let mut removed = Vec::new();
    for name in names {
        match ledger.remove(&name) {
            // Somebody has just come in.
            Err(NetworkError::Taken { .. }) => {}
            other => removed.push(other?.name),
        }
    }
    Ok(removed)
}

enum PruneFilter {
    Label(String, Option<String>),
    Until(Timestamp),
}

impl PruneFilter {
    fn parse(text: &str) -> Result<PruneFilter> {
        match text.split_once('=') {
            Some(("label", label)) => Ok(match label.split_once('=') {
                Some((key, value)) => PruneFilter::Label(key.into(), Some(value.into())),
                None => PruneFilter::Label(label.into(), None),
            }),
            Some(("until", at)) => Ok(PruneFilter::Until(time::point(at)?)),
            _ => {
                Err(Failure::new(format!("{text:?} is not a filter")).hint("use label= or until="))
            }
        }
    }

    fn matches(&self, network: &Network) -> bool {
        match self {
            PruneFilter::Label(key, wanted) => network
                .labels
                .get(key)
                .is_some_and(|have| wanted.as_ref().is_none_or(|wanted| wanted == have)),
            PruneFilter::Until(at) => network.created < *at,
        }
    }
}
