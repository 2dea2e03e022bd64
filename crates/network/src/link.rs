//! Devices, their addresses and routes (rtnetlink(7)), in the network namespace of the thread.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rustix::io::Errno;

use crate::{
    error::{Context, Result},
    mac::Mac,
    netlink::Netlink,
};

/// What of a device decides whether it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub is_bridge: bool,
    pub address: Vec<u8>,
}

/// A pair of devices, of which one goes to another namespace.
pub(crate) struct Pair<'a> {
    /// On this side, a port of `bridge`.
    pub near: &'a str,
    pub bridge: u32,
    /// On the other side.
    pub far: &'a str,
    pub far_mac: Mac,
    pub namespace: BorrowedFd<'a>,
    pub mtu: Option<u32>,
}

/// The devices of one network namespace.
pub(crate) struct Links {
    netlink: Netlink,
}

impl Links {
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn open() -> Result<Links> {
        Ok(Links { netlink: Netlink::route().context("open", "a routing socket")? })
    }

    /// The device of this name, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        Ok(self.list()?.into_iter().find(|(found, _)| found == name).map(|(_, link)| link))
    }

    fn list(&mut self) -> Result<Vec<(String, Link)>> {
        let messages = self
            .netlink
            .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
            .context("list", "network devices")?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => named(&link),
                _ => None,
            })
            .collect())
    }

    /// Makes a bridge that is up.
    ///
    /// # Errors
    /// [`crate::Error::Refused`], with `EEXIST` if there is a device of that name.
    pub fn make_bridge(&mut self, name: &str, mac: Mac, mtu: Option<u32>) -> Result<()> {
        let mut bridge = new_link(name, InfoKind::Bridge, None);
        bridge.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
        bridge.attributes.extend(mtu.map(LinkAttribute::Mtu));
        self.create(bridge).context("make bridge", name)
    }

    /// Makes a pair of devices. The near one is up, the far one down.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel; then there is none of both.
    pub fn make_pair(&mut self, pair: &Pair) -> Result<()> {
        let mut far = LinkMessage::default();
        far.attributes = vec![
            LinkAttribute::IfName(pair.far.to_owned()),
            LinkAttribute::Address(pair.far_mac.octets().to_vec()),
            LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()),
        ];
        far.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        let data = InfoData::Veth(InfoVeth::Peer(far));
        let mut near = new_link(pair.near, InfoKind::Veth, Some(data));
        near.attributes.push(LinkAttribute::Controller(pair.bridge));
        near.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
        self.create(near).context("make device", pair.near)
    }

    /// Lets a port of a bridge send packets back to where they came from: a container that addresses
    /// its own published port is sent to itself.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn let_port_talk_to_itself(&mut self, port: &str) -> Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(port.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                    true,
                )])),
            ]),
        ];
        self.netlink
            .request(RouteNetlinkMessage::NewLink(link), 0)
            .context("set the hairpin mode of", port)
    }

    fn create(&mut self, link: LinkMessage) -> io::Result<()> {
        self.netlink.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// # Errors
    /// [`crate::Error::Refused`], for instance if it is gone.
    pub fn bring_up(&mut self, index: u32) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.netlink
            .request(RouteNetlinkMessage::SetLink(link), 0)
            .context("bring up network device", index)
    }

    /// Removes a device; that there is none is fine.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.netlink.request(RouteNetlinkMessage::DelLink(link), 0) {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            other => other.context("remove device", name),
        }
    }

    /// Gives a device an address; that it has it is fine.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.scope = AddressScope::Universe;
        // We know who has which address; the kernel need not wait and ask around.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes = vec![
            AddressAttribute::Local(address.addr()),
            AddressAttribute::Address(address.addr()),
        ];
        if let IpNet::V4(net) = address {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
        }
        self.netlink
            .request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .context("give a network device the address", address)
    }

    /// All addresses of this host.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn addresses(&mut self) -> Result<Vec<IpAddr>> {
        let messages = self
            .netlink
            .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            .context("list", "the addresses of this host")?;
        Ok(messages.iter().filter_map(own_address).collect())
    }

    /// What has no other route goes to `gateway`.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn set_default_route(&mut self, gateway: IpAddr) -> Result<()> {
        let mut route = RouteMessage::default();
        route.header = RouteHeader {
            address_family: family(gateway),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        route.attributes.push(RouteAttribute::Gateway(gateway.into()));
        self.netlink
            .request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
            .context("set the default route to", gateway)
    }

    /// Where this host sends packets, except by default.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn destinations(&mut self) -> Result<Vec<IpNet>> {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        let messages = self
            .netlink
            .dump(RouteNetlinkMessage::GetRoute(route))
            .context("list", "the routes of this host")?;
        Ok(messages.iter().filter_map(destination).collect())
    }
}

fn named(link: &LinkMessage) -> Option<(String, Link)> {
    let mut found = Link { index: link.header.index, is_bridge: false, address: Vec::new() };
    let mut name = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(address) => found.address.clone_from(address),
            LinkAttribute::LinkInfo(infos) => {
                found.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    name.map(|name| (name, found))
}

fn new_link(name: &str, kind: InfoKind, data: Option<InfoData>) -> LinkMessage {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)];
    link
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn own_address(message: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(address) = message else { return None };
    address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

fn destination(message: &RouteNetlinkMessage) -> Option<IpNet> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let len = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(netlink_packet_route::route::RouteAddress::Inet(address)) => {
            IpNet::new((*address).into(), len).ok().filter(|net| net.prefix_len() > 0)
        }
        _ => None,
    })
}
