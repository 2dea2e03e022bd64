//! Flows of datagrams that the kernel remembers (connection tracking), and forgetting them.
//!
//! The packet filter decides where a flow goes with its first packet. Somebody who goes on sending
//! keeps the flow alive: to a container that is gone, or, from before a port was published, to a
//! socket that nobody reads. So flows are forgotten when a container comes or goes, and the next
//! packet is decided upon anew. Streams end by themselves, and those of a checkpoint shall not.

use std::net::IpAddr;

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple},
};
use rustix::io::Errno;

use crate::{
    error::{Context, Result},
    lease::Endpoint,
    link::Links,
    netlink::Netlink,
    port,
};

/// Forgets what goes to or comes from these places.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel. That it remembers nothing is fine.
pub(crate) fn forget_those_of(endpoints: &[&Endpoint]) -> Result<()> {
    let is_ours = |address: IpAddr| {
        let mut addresses = endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        addresses.any(|net| net.addr() == address)
    };
    forget(|flow| is_ours(flow.from) || is_ours(flow.answered_from))
}

/// Forgets what was sent to the published ports of this place before they were published.
///
/// # Errors
/// [`crate::Error::Refused`] by the kernel.
pub(crate) fn forget_those_before(endpoint: &Endpoint) -> Result<()> {
    let ports: Vec<u16> = endpoint
        .ports
        .iter()
        .filter(|published| published.port.protocol == port::Protocol::Udp)
        .map(|published| published.host_port)
        .collect();
    if ports.is_empty() {
        return Ok(());
    }
    let own = Links::open()?.addresses()?;
    forget(|flow| {
        let is_untranslated = flow.answered_from == flow.to;
        is_untranslated && ports.contains(&flow.to_port) && own.contains(&flow.to)
    })
}

/// A flow as its first packet was seen, and where its answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    from: IpAddr,
    to: IpAddr,
    to_port: u16,
    answered_from: IpAddr,
}

fn forget(is_unwanted: impl Fn(&Flow) -> bool) -> Result<()> {
    let mut netlink = Netlink::netfilter().context("open", "a packet filter socket")?;
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        let all = message(family, ConntrackMessage::Get(Vec::new()));
        for found in netlink.dump(all).context("list", "flows of datagrams")? {
            let Some((flow, key)) = flow_of(&found) else { continue };
            if is_unwanted(&flow) {
                let delete = ConntrackMessage::Delete(vec![key]);
                match netlink.request(message(family, delete), 0) {
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                    other => other.context("forget", "a flow of datagrams")?,
                }
            }
        }
    }
    Ok(())
}

fn message(family: NetfilterProtoFamily, message: ConntrackMessage) -> NetfilterMessage {
    NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        NetfilterMessageInner::Conntrack(message),
    )
}

/// A flow of datagrams, and what the kernel knows it by.
fn flow_of(message: &NetfilterMessage) -> Option<(Flow, ConntrackAttribute)> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &message.inner else {
        return None;
    };
    let key = attributes.iter().find(|a| matches!(a, ConntrackAttribute::CtaTupleOrig(_)))?;
    let sent = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuples) => Direction::of(tuples),
        _ => None,
    })?;
    let answered = attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleReply(tuples) => Direction::of(tuples),
        _ => None,
    })?;
    let flow =
        Flow { from: sent.from, to: sent.to, to_port: sent.to_port, answered_from: answered.from };
    Some((flow, key.clone()))
}

/// One direction of a flow of datagrams.
struct Direction {
    from: IpAddr,
    to: IpAddr,
    to_port: u16,
}

impl Direction {
    fn of(tuples: &[Tuple]) -> Option<Direction> {
        let (mut from, mut to, mut to_port, mut is_datagrams) = (None, None, None, false);
        for tuple in tuples {
            match tuple {
                Tuple::Ip(parts) => parts.iter().for_each(|part| match part {
                    IPTuple::SourceAddress(address) => from = Some(*address),
                    IPTuple::DestinationAddress(address) => to = Some(*address),
                    _ => {}
                }),
                Tuple::Proto(parts) => parts.iter().for_each(|part| match part {
                    ProtoTuple::Protocol(protocol) => is_datagrams = *protocol == Protocol::Udp,
                    ProtoTuple::DestinationPort(port) => to_port = Some(*port),
                    _ => {}
                }),
                _ => {}
            }
        }
        let direction = Direction { from: from?, to: to?, to_port: to_port? };
        is_datagrams.then_some(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuples(from: [u8; 4], to: [u8; 4], protocol: Protocol) -> Vec<Tuple> {
        vec![
            Tuple::Ip(vec![
                IPTuple::SourceAddress(from.into()),
                IPTuple::DestinationAddress(to.into()),
            ]),
            Tuple::Proto(vec![
                ProtoTuple::Protocol(protocol),
                ProtoTuple::SourcePort(1000),
                ProtoTuple::DestinationPort(53),
            ]),
        ]
    }

    #[test]
    fn only_datagrams_are_flows() {
        let found = |protocol| {
            flow_of(&message(
                NetfilterProtoFamily::IPv4,
                ConntrackMessage::New(vec![
                    ConntrackAttribute::CtaTupleOrig(tuples([1; 4], [2; 4], protocol)),
                    ConntrackAttribute::CtaTupleReply(tuples([3; 4], [1; 4], protocol)),
                ]),
            ))
        };
        let (flow, _) = found(Protocol::Udp).unwrap();
        let expect = Flow {
            from: [1; 4].into(),
            to: [2; 4].into(),
            to_port: 53,
            answered_from: [3; 4].into(),
        };
        assert_eq!(flow, expect);
        assert!(found(Protocol::Tcp).is_none());
    }
}
