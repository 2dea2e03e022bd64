//! Bridges, and the devices that plug containers into them.

use std::{net::IpAddr, os::fd::BorrowedFd};

use ipnet::IpNet;
use rustix::io::Errno;

use crate::{
    error::{Context, Error, Result},
    forwarding,
    lease::Endpoint,
    link::{Link, Links, Pair},
    namespace,
    network::Network,
};

/// Makes the bridge if it is not there, and a device between it and the container, which is up and
/// has its addresses.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn plug(
    network: &Network,
    endpoint: &Endpoint,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let mut links = Links::open()?;
    let bridge = ensure_bridge(&mut links, network)?;
    // What a killed monitor left of this very device.
    links.remove(&endpoint.device)?;
    links.make_pair(&Pair {
        near: &endpoint.device,
        bridge,
        far: &endpoint.interface,
        far_mac: endpoint.mac,
        namespace,
        mtu: network.mtu,
    })?;
    namespace::within(namespace, || {
        let mut links = Links::open()?;
        let device = links.find(&endpoint.interface)?.ok_or_else(|| vanished(endpoint))?;
        for address in &endpoint.addresses {
            links.add_address(device.index, *address)?;
        }
        links.bring_up(device.index)?;
        forwarding::free_low_ports()
    })
}

/// Who addresses his own published port comes back by the device he went out by.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn let_talk_to_itself(endpoint: &Endpoint) -> Result<()> {
    Links::open()?.let_port_talk_to_itself(&endpoint.device)
}

fn vanished(endpoint: &Endpoint) -> Error {
    Error::invalid(format!("device {} vanished from the container", endpoint.interface))
}

fn ensure_bridge(links: &mut Links, network: &Network) -> Result<u32> {
    let bridge = match links.find(&network.device)? {
        Some(link) => link,
        None => make_bridge(links, network)?,
    };
    if !is_ours(&bridge, network) {
        let what = format!("the device name {}", network.device);
        return Err(Error::Taken { what, holder: "a device that stasis did not make".into() });
    }
    for subnet in &network.subnets {
        let address = IpNet::new(subnet.gateway, subnet.net.prefix_len())
            .map_err(|_| Error::invalid(format!("network {} has a wrong prefix", network.name)))?;
        links.add_address(bridge.index, address)?;
    }
    Ok(bridge.index)
}

fn make_bridge(links: &mut Links, network: &Network) -> Result<Link> {
    links.make_bridge(&network.device, network.mac(), network.mtu)?;
    links.find(&network.device)?.ok_or(Errno::NODEV).context("find", &network.device)
}

fn is_ours(link: &Link, network: &Network) -> bool {
    link.is_bridge && link.address == network.mac().octets()
}

/// Removes the bridge of a network, if there is one and it is ours.
///
/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn remove_bridge(network: &Network) -> Result<()> {
    let mut links = Links::open()?;
    match links.find(&network.device)? {
        Some(link) if is_ours(&link, network) => links.remove(&network.device),
        _ => Ok(()),
    }
}

/// # Errors
/// [`Error::Refused`] by the kernel.
pub(crate) fn set_default_routes(gateways: &[IpAddr], namespace: BorrowedFd<'_>) -> Result<()> {
    namespace::within(namespace, || {
        let mut links = Links::open()?;
        gateways.iter().try_for_each(|gateway| links.set_default_route(*gateway))
    })
}
