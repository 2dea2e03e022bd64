//! Options and verbs about networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::{Args, Subcommand};
use ipnet::IpNet;
use stasis_network::Mac;

/// Of `run` and `create`.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Networks by name, host, none, or container:NAME; else that of the variable STASIS_NETWORK, or bridge
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// Further names for the neighbours in user-made networks
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Address in the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address in the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<Ipv6Addr>,
    /// Hardware address in the first network
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// Publish a port on the host: [[ADDRESS:]PORT[-LAST]:]PORT[-LAST][/udp]
    #[arg(short, long, value_name = "PORTS")]
    pub publish: Vec<String>,
    /// Publish all exposed ports on free ports of the host
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Ports that the program serves
    #[arg(long, value_name = "PORT[-LAST][/udp]")]
    pub expose: Vec<String>,
    /// Name servers instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Domains to search for names
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Options of the resolver
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// A name and its address, which may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Make a network
    Create(NetworkCreateArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(NetworkLsArgs),
    /// Show all about networks as JSON
    Inspect(NetworkInspectArgs),
    /// Remove networks that no container is in
    #[command(visible_alias = "remove")]
    Rm(NetworkRmArgs),
    /// Bring a container into a network
    Connect(NetworkConnectArgs),
    /// Take a container out of a network
    Disconnect(NetworkDisconnectArgs),
    /// Remove all networks that no container uses
    Prune(NetworkPruneArgs),
}

#[derive(Debug, Args)]
pub struct NetworkCreateArgs {
    /// Only bridge
    #[arg(short, long, default_value = "bridge")]
    pub driver: String,
    /// Addresses of the network, such as 10.1.2.0/24
    #[arg(long, value_name = "NET")]
    pub subnet: Vec<IpNet>,
    /// Address of the host in the subnet
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,
    /// Give containers addresses of this part of the subnet
    #[arg(long, value_name = "NET")]
    pub ip_range: Vec<IpNet>,
    /// Without a way to other hosts
    #[arg(long)]
    pub internal: bool,
    /// With IPv6 addresses too
    #[arg(long)]
    pub ipv6: bool,
    /// Attach a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// com.docker.network.bridge.name=DEVICE, com.docker.network.driver.mtu=BYTES
    #[arg(short, long = "opt", value_name = "OPTION=VALUE")]
    pub options: Vec<String>,
    #[arg(value_name = "NETWORK")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct NetworkLsArgs {
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// name=, id=, driver=, label=, dangling=, type=, scope=
    #[arg(short, long)]
    pub filter: Vec<String>,
    /// json, table, or a Go template
    #[arg(long)]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
pub struct NetworkInspectArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub format: Option<String>,
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

#[derive(Debug, Args)]
pub struct NetworkRmArgs {
    /// That there is no such network is fine
    #[arg(short, long)]
    pub force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

#[derive(Debug, Args)]
pub struct NetworkConnectArgs {
    /// Address in the network
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address in the network
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<Ipv6Addr>,
    /// Hardware address in the network
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// Further names for the neighbours
    #[arg(long, value_name = "NAME")]
    pub alias: Vec<String>,
    pub network: String,
    pub container: String,
}

#[derive(Debug, Args)]
pub struct NetworkDisconnectArgs {
    /// That it is not in the network is fine
    #[arg(short, long)]
    pub force: bool,
    pub network: String,
    pub container: String,
}

#[derive(Debug, Args)]
pub struct NetworkPruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// label=, until=
    #[arg(long)]
    pub filter: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PortArgs {
    pub container: String,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub port: Option<String>,
}
