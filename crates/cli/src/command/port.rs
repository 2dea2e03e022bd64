//! `port`, and how published ports are shown elsewhere.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};
use stasis_container::{
    State, Store,
    config::{Config, Port},
};
use stasis_network::Published;

use crate::{
    args::PortArgs,
    failure::{Failure, Result},
};

pub fn run(store: &Store, args: &PortArgs) -> Result<i32> {
    let container = store.find(&args.container)?;
    let state = container.state()?;
    let published = published(&state);
    match &args.port {
        None => published.iter().for_each(|one| say!("{} -> {}", one.port, host_side(one))),
        Some(text) => {
            let port: Port = text.parse()?;
            let ways: Vec<&&Published> = published.iter().filter(|one| one.port == port).collect();
            if ways.is_empty() {
                let name = &container.config.name;
                return Err(Failure::new(format!(
                    "port {port} of container {name} is not published"
                )));
            }
            ways.iter().for_each(|one| say!("{}", host_side(one)));
        }
    }
    Ok(0)
}

/// The published ports of a container that runs, in order.
pub fn published(state: &State) -> Vec<&Published> {
    let endpoints = state.endpoints.iter().filter(|_| state.status.is_up());
    let mut ports: Vec<&Published> = endpoints.flat_map(|endpoint| &endpoint.ports).collect();
    ports.sort_by_key(|one| (one.port, one.host_ip, one.host_port));
    ports
}

fn host_side(published: &Published) -> SocketAddr {
    SocketAddr::new(published.host_ip, published.host_port)
}

/// The column of `ps`: `0.0.0.0:8080->80/tcp, 443/tcp`.
pub fn column(config: &Config, state: &State) -> String {
    let published = published(state);
    let is_published = |port: &Port| published.iter().any(|one| one.port == *port);
    let mut cells: Vec<String> = runs(&published).iter().map(Run::text).collect();
    let mut exposed: Vec<Port> = config.network_options.expose.clone();
    exposed.sort();
    exposed.dedup();
    let is_shown = |port: &&Port| state.status.is_up() && !is_published(port);
    cells.extend(exposed.iter().filter(is_shown).map(ToString::to_string));
    cells.join(", ")
}

/// Ports in a row, as Docker draws them together.
struct Run<'a> {
    first: &'a Published,
    len: u16,
}

impl Run<'_> {
    fn is_followed_by(&self, next: &Published) -> bool {
        let (first, len) = (self.first, self.len);
        next.host_ip == first.host_ip
            && next.port.protocol == first.port.protocol
            && first.host_port.checked_add(len) == Some(next.host_port)
            && first.port.number.checked_add(len) == Some(next.port.number)
    }

    fn text(&self) -> String {
        let (first, more) = (self.first, self.len - 1);
        if more == 0 {
            return format!("{}->{}", host_side(first), first.port);
        }
        let (host_last, last) = (first.host_port + more, first.port.number + more);
        let Port { number, protocol } = first.port;
        format!("{}-{host_last}->{number}-{last}/{protocol}", host_side(first))
    }
}

fn runs<'a>(published: &[&'a Published]) -> Vec<Run<'a>> {
    let mut sorted = published.to_vec();
    sorted.sort_by_key(|one| (one.host_ip, one.port.protocol, one.port.number, one.host_port));
    let mut runs: Vec<Run<'a>> = Vec::new();
    for one in sorted {
        match runs.last_mut().filter(|run| run.is_followed_by(one)) {
            Some(run) => run.len += 1,
            None => runs.push(Run { first: one, len: 1 }),
        }
    }
    runs
}

/// `NetworkSettings.Ports` of `inspect`: exposed ports that are not published are null.
pub fn describe(config: &Config, state: &State) -> Value {
    let mut ports: BTreeMap<String, Value> = BTreeMap::new();
    if state.status.is_up() {
        let exposed = config.network_options.expose.iter();
        ports.extend(exposed.map(|port| (port.to_string(), Value::Null)));
    }
    for one in published(state) {
        let binding = json!({
            "HostIp": one.host_ip.to_string(),
            "HostPort": one.host_port.to_string(),
        });
        match ports.entry(one.port.to_string()).or_insert(Value::Null) {
            Value::Array(bindings) => bindings.push(binding),
            none => *none = json!([binding]),
        }
    }
    json!(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_are_one_run() {
        let one = |host_port, number: u16| Published {
            host_ip: [0, 0, 0, 0].into(),
            host_port,
            port: format!("{number}/tcp").parse().unwrap(),
        };
        let ports = [one(8001, 81), one(8000, 80), one(9000, 82), one(65535, 65535)];
        let texts: Vec<String> =
            runs(&ports.iter().collect::<Vec<_>>()).iter().map(Run::text).collect();
        let expect =
            ["0.0.0.0:8000-8001->80-81/tcp", "0.0.0.0:9000->82/tcp", "0.0.0.0:65535->65535/tcp"];
        assert_eq!(texts, expect);
    }
}
