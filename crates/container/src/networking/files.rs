//! `hosts`, `hostname` and `resolv.conf` of a container.
//!
//! They are bound into the container, so they are written in place: another file of the same name
//! would not be seen inside.

use std::{collections::BTreeSet, fs, net::IpAddr, os::unix::fs::PermissionsExt, path::Path};

use stasis_network::{
    Endpoint, Lease, Ledger, Note, host_address,
    hosts::{self, HostLine},
    resolver::{self, Loopback},
};

use crate::{
    config::{Config, HostAddress, Network},
    error::{Context, Result},
    home::{Home, Place},
    record,
    store::Container,
};

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const HOST_RESOLVER: &str = "/etc/resolv.conf";
/// What `systemd-resolved` asks, where [`HOST_RESOLVER`] names only itself.
const RESOLVED_UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// Writes what is known before the container is in its networks.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(crate) fn write_files(container: &Container) -> Result<()> {
    let (config, place) = (&container.config, &container.place);
    write(&place.etc("hostname"), &format!("{}\n", config.hostname))?;
    write(&place.etc("resolv.conf"), &resolver_file(config))?;
    write_hosts(config, place, &own_lines(config, &[]))
}

/// Tells every container in a network where the others are; who knows it already is left alone.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(super) fn tell_everybody(ledger: &Ledger, home: &Home) -> Result<()> {
    let plugged = ledger.leases().iter().filter(|lease| lease.is_plugged());
    let ids: BTreeSet<&str> = plugged.map(|lease| lease.owner.id.as_str()).collect();
    ids.into_iter().try_for_each(|id| tell(ledger, home, id))
}

/// Tells one container where it is and where the others are.
///
/// # Errors
/// [`crate::Error::Refused`] by the file system.
pub(super) fn tell(ledger: &Ledger, home: &Home, id: &str) -> Result<()> {
    let place = home.place(id);
    // Just being removed: nobody reads the file any more.
    let Ok(config) = record::read::<Config>(&place.config()) else { return Ok(()) };
    let own: Vec<Endpoint> = ledger
        .leases()
        .iter()
        .filter(|lease| lease.owner.id == id && lease.is_plugged())
        .map(|lease| lease.endpoint.clone())
        .collect();
    let mut lines = own_lines(&config, &own);
    lines.extend(ledger.neighbours(id).into_iter().flat_map(lines_of_neighbour));
    write_hosts(&config, &place, &lines)
}

/// The container's own addresses, and those of `--add-host`.
fn own_lines(config: &Config, endpoints: &[Endpoint]) -> Vec<HostLine> {
    let mut lines = Vec::new();
    for endpoint in endpoints {
        let mut names = vec![config.hostname.clone(), config.name.clone()];
        names.extend(endpoint.aliases.iter().cloned());
        names.extend(config.id.get(..12).map(str::to_owned));
        let line = |address: &ipnet::IpNet| HostLine::new(address.addr(), names.clone());
        lines.extend(endpoint.addresses.iter().map(line));
    }
    if !matches!(config.network, Network::Named(_)) {
        lines.push(HostLine::new(IpAddr::from([127, 0, 1, 1]), [&config.hostname]));
    }
    lines.extend(config.network_options.extra_hosts.iter().filter_map(|extra| {
        let address = match extra.address {
            HostAddress::Is(address) => Some(address),
            HostAddress::Gateway if config.network == Network::Host => Some([127, 0, 0, 1].into()),
            HostAddress::Gateway => host_address(endpoints),
        };
        address.map(|address| HostLine::new(address, [&extra.name]))
    }));
    lines
}

fn lines_of_neighbour(lease: &Lease) -> Vec<HostLine> {
    let mut names = vec![lease.owner.name.clone()];
    names.extend(lease.endpoint.aliases.iter().cloned());
    names.extend(lease.owner.id.get(..12).map(str::to_owned));
    let line = |address: &ipnet::IpNet| HostLine::new(address.addr(), names.clone());
    lease.endpoint.addresses.iter().map(line).collect()
}

fn write_hosts(config: &Config, place: &Place, lines: &[HostLine]) -> Result<()> {
    let path = place.etc("hosts");
    let file = fs::read_to_string(&path).unwrap_or_else(|_| first_hosts(config));
    write(&path, &hosts::render(&file, lines))
}

fn first_hosts(config: &Config) -> String {
    match config.network {
        Network::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
        Network::None | Network::Named(_) | Network::Container(_) => LOCALHOST.to_owned(),
    }
}

fn resolver_file(config: &Config) -> String {
    let wanted = &config.network_options.resolver;
    let host = fs::read_to_string(HOST_RESOLVER).unwrap_or_default();
    if !matches!(config.network, Network::Named(_)) {
        return wanted.render(&host, Loopback::Hosts);
    }
    let file = wanted.render(&host, Loopback::Own);
    if resolver::has_server(&file) {
        return file;
    }
    let upstream = fs::read_to_string(RESOLVED_UPSTREAM).unwrap_or_default();
    wanted.render(&upstream, Loopback::Own)
}

/// A container in networks that can look nothing up.
pub(super) fn missing_name_server(config: &Config) -> Option<Note> {
    let is_missing = !resolver::has_server(&resolver_file(config));
    is_missing.then(|| Note::NoNameServer { container: config.name.clone() })
}

/// Writes a file in place, unless it holds just this already.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text).context("write", path.display())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).context("write", path.display())
}
