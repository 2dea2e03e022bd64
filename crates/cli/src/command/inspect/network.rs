//! What `inspect` tells of networks, under Docker's names.

use serde_json::{Map, Value, json};
use stasis_container::{
    State,
    config::{Config, Connection, HostAddress, Network},
};
use stasis_network::{Endpoint, Family};

use crate::command::{port, ps};

/// `NetworkSettings`; the addresses at its top are those of the first network.
pub fn settings(config: &Config, state: &State) -> Value {
    let endpoints: &[Endpoint] = if state.status.is_up() { &state.endpoints } else { &[] };
    let mut settings = json!({
        "Bridge": "",
        "SandboxKey": sandbox(state),
        "Ports": port::describe(config, state),
        "Networks": networks(config, endpoints),
    });
    merge(&mut settings, addresses(endpoints.first()));
    settings
}

/// Where the network namespace can be entered.
fn sandbox(state: &State) -> String {
    match state.init.as_ref().filter(|_| state.status.is_up()) {
        Some(init) => format!("/proc/{}/ns/net", init.pid),
        None => String::new(),
    }
}

fn networks(config: &Config, endpoints: &[Endpoint]) -> Map<String, Value> {
    let Network::Named(connections) = &config.network else {
        let names = ps::networks(&config.network).into_iter();
        return names.map(|name| (name, addresses(None))).collect();
    };
    connections
        .iter()
        .map(|connection| {
            let name = &connection.network;
            let endpoint = endpoints.iter().find(|endpoint| endpoint.network == *name);
            (name.clone(), describe(connection, endpoint))
        })
        .collect()
}

fn describe(connection: &Connection, endpoint: Option<&Endpoint>) -> Value {
    let mut described = json!({
        "IPAMConfig": { "IPv4Address": connection.ip, "IPv6Address": connection.ip6 },
        "Links": null,
        "Aliases": connection.aliases,
        "NetworkID": endpoint.map_or("", |endpoint| endpoint.network_id.as_str()),
        "EndpointID": endpoint.map_or("", |endpoint| endpoint.device.as_str()),
        "DriverOpts": null,
    });
    merge(&mut described, addresses(endpoint));
    described
}

fn addresses(endpoint: Option<&Endpoint>) -> Value {
    let net = |family| endpoint.and_then(|endpoint| endpoint.address(family));
    let address = |family| net(family).map_or_else(String::new, |net| net.addr().to_string());
    let len = |family| net(family).map_or(0, |net| net.prefix_len());
    let gateway = |family| {
        let gateway = endpoint.and_then(|endpoint| endpoint.gateway(family));
        gateway.map_or_else(String::new, |gateway| gateway.to_string())
    };
    json!({
        "IPAddress": address(Family::V4),
        "IPPrefixLen": len(Family::V4),
        "Gateway": gateway(Family::V4),
        "GlobalIPv6Address": address(Family::V6),
        "GlobalIPv6PrefixLen": len(Family::V6),
        "IPv6Gateway": gateway(Family::V6),
        "MacAddress": endpoint.map_or_else(String::new, |endpoint| endpoint.mac.to_string()),
    })
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

pub fn mode(network: &Network) -> String {
    ps::networks(network).into_iter().next().unwrap_or_else(|| "none".into())
}

/// As the user wished, not as it came out.
pub fn port_bindings(config: &Config) -> Map<String, Value> {
    let mut bindings: Map<String, Value> = Map::new();
    for wish in &config.network_options.publish {
        let host_port = match &wish.host_ports {
            None => String::new(),
            Some(ports) if ports.start() == ports.end() => ports.start().to_string(),
            Some(ports) => format!("{}-{}", ports.start(), ports.end()),
        };
        let host_ip = wish.host_ip.map_or_else(String::new, |ip| ip.to_string());
        let binding = json!({ "HostIp": host_ip, "HostPort": host_port });
        match bindings.entry(wish.port.to_string()).or_insert_with(|| json!([])) {
            Value::Array(list) => list.push(binding),
            other => *other = json!([binding]),
        }
    }
    bindings
}

pub fn exposed_ports(config: &Config) -> Map<String, Value> {
    let options = &config.network_options;
    let published = options.publish.iter().map(|wish| wish.port);
    let ports = options.expose.iter().copied().chain(published);
    ports.map(|port| (port.to_string(), json!({}))).collect()
}

pub fn extra_hosts(config: &Config) -> Vec<String> {
    let hosts = config.network_options.extra_hosts.iter();
    hosts
        .map(|host| match host.address {
            HostAddress::Is(address) => format!("{}:{address}", host.name),
            HostAddress::Gateway => format!("{}:host-gateway", host.name),
        })
        .collect()
}
