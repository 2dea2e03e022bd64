//! A segment in the place of the peer: only by one can a socket learn of the end of the peer's data.
//!
//! It goes from a raw socket (raw(7)) to the local address, so it never leaves the machine.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    net::{SendFlags, sendto},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use stasis_sys::socket;

use super::{Ends, REPAIR_MARK, SOCKET};
use crate::error::{Error, Result};

pub const FIN: u8 = 1;
pub const ACK: u8 = 16;
const TCP: u8 = 6;
const TCP_HEADER_BYTES: u8 = 20;
const HOPS: u8 = 64;

/// What the peer would say.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: u8,
    /// As it stands in the header, that is before it is scaled.
    pub window: u16,
}

/// A raw socket in a network namespace.
pub fn raw_socket(namespace: BorrowedFd<'_>, to: &SocketAddr) -> Result<OwnedFd> {
    within(namespace, || raw(to))
}

/// Makes a socket in a network namespace.
pub fn within(
    namespace: BorrowedFd<'_>,
    make: impl FnOnce() -> Result<OwnedFd> + Send,
) -> Result<OwnedFd> {
    let enter = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .map_err(Error::at("network namespace", "setns"))
    };
    // Only a thread can change its namespace without changing that of everybody.
    let made = std::thread::scope(|scope| scope.spawn(|| enter().and_then(|()| make())).join());
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn raw(to: &SocketAddr) -> Result<OwnedFd> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let raw = socket::create(family, libc::SOCK_RAW, libc::IPPROTO_RAW)
        .map_err(Error::at("raw socket", "socket"))?;
    socket::set_int(raw.as_fd(), SOCKET, libc::SO_MARK, REPAIR_MARK.cast_signed())
        .map_err(Error::at("raw socket", "setsockopt(SO_MARK)"))?;
    Ok(raw)
}

/// Lets a segment arrive at the local end as if the peer had sent it.
pub fn deliver(raw: &OwnedFd, ends: &Ends, segment: Segment) -> Result<()> {
    let packet = packet(ends, segment);
    // The port of such a socket's address is its protocol, which is in the packet already.
    let mut to = ends.local;
    to.set_port(0);
    sendto(raw, &packet, SendFlags::empty(), &to)
        .map(drop)
        .map_err(Error::at(ends.to_string(), "sendto a raw socket"))
}

fn packet(ends: &Ends, segment: Segment) -> Vec<u8> {
    let (from, to) = (ends.remote.ip().to_canonical(), ends.local.ip().to_canonical());
    let mut tcp = header(ends, segment);
    let sum = checksum(&[&pseudo_header(from, to), &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    [ip_header(from, to), tcp].concat()
}

fn header(ends: &Ends, segment: Segment) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(ends.remote.port().to_be_bytes());
    header.extend(ends.local.port().to_be_bytes());
    header.extend(segment.sequence.to_be_bytes());
    header.extend(segment.acknowledged.to_be_bytes());
    // Its length in words of four bytes, in the upper half of a byte.
    header.extend([(TCP_HEADER_BYTES / 4) << 4, segment.flags]);
    header.extend(segment.window.to_be_bytes());
    // Checksum, filled in later, and urgent pointer.
    header.extend([0; 4]);
    header
}

/// What the checksum covers beside the segment (RFC 9293, 3.1).
fn pseudo_header(from: IpAddr, to: IpAddr) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            [&from.octets()[..], &to.octets(), &[0, TCP, 0, TCP_HEADER_BYTES]].concat()
        }
        (from, to) => {
            let rest = [0, 0, 0, TCP_HEADER_BYTES, 0, 0, 0, TCP];
            [&wide(from)[..], &wide(to), &rest].concat()
        }
    }
}

/// The kernel fills in length and checksum of an IPv4 header (raw(7)).
fn ip_header(from: IpAddr, to: IpAddr) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            const VERSION_AND_LENGTH: u8 = 0x45;
            let total = 20 + TCP_HEADER_BYTES;
            let start = [VERSION_AND_LENGTH, 0, 0, total, 0, 0, 0, 0, HOPS, TCP, 0, 0];
            [&start[..], &from.octets(), &to.octets()].concat()
        }
        (from, to) => {
            const VERSION: u8 = 0x60;
            let start = [VERSION, 0, 0, 0, 0, TCP_HEADER_BYTES, TCP, HOPS];
            [&start[..], &wide(from), &wide(to)].concat()
        }
    }
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The Internet's checksum (RFC 1071) of parts with an even length each.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded into sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Segment =
        Segment { sequence: 0x0102_0304, acknowledged: 7, flags: FIN | ACK, window: 512 };

    fn check(local: &str, remote: &str, header_bytes: usize) {
        let ends = Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        let packet = packet(&ends, SEGMENT);
        assert_eq!(packet.len(), header_bytes + usize::from(TCP_HEADER_BYTES));
        let tcp = &packet[header_bytes..];
        assert_eq!(
            tcp[..4],
            [&ends.remote.port().to_be_bytes()[..], &ends.local.port().to_be_bytes()].concat()
        );
        assert_eq!((tcp[12], tcp[13]), (0x50, FIN | ACK));
        // Over all of it, its own field included, the sum is zero.
        let pseudo = pseudo_header(ends.remote.ip(), ends.local.ip());
        assert_eq!(checksum(&[&pseudo, tcp]), 0);
    }

    #[test]
    fn segments_come_from_the_peer_and_have_their_sum() {
        check("10.0.0.2:80", "10.0.0.9:40000", 20);
        check("[fd00::2]:80", "[fd00::9]:40000", 40);
    }

    #[test]
    fn a_known_sum() {
        // The example of RFC 1071, 3.
        assert_eq!(checksum(&[&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }
}
