//! ip(7), ipv6(7), tcp(7), udp(7)

use std::net::{IpAddr, SocketAddr};

use stasis_model::{
    FileId, InetSocket, IpOptions, SocketId, SocketState, TcpConnection, TcpOptions,
};

use super::socket_options::{self, Family};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        fown::FownEntry,
        sk_inet::{InetSkEntry, IpOptsEntry, TcpOptsEntry},
        sk_opts::SkOptsEntry,
    },
};

const AF_INET6: u32 = 10;
const SOCK_STREAM: u32 = 1;
const SOCK_RAW: u32 = 3;

pub(super) fn encode(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    socket: &InetSocket,
    network: u32,
) -> Result<InetSkEntry> {
    Ok(InetSkEntry {
        id: id.0,
        ino: socket.socket.0,
        family: socket.family,
        r#type: socket.socket_type,
        proto: socket.protocol,
        state: socket.state.number(),
        src_port: socket.local_port.into(),
        dst_port: socket.remote_port.into(),
        flags,
        backlog: socket.backlog,
        src_addr: encode_address(socket, &socket.local_address)?,
        dst_addr: encode_address(socket, &socket.remote_address)?,
        fown,
        opts: socket_options::encode(&socket.options, Family::Inet),
        v6only: (socket.family == AF_INET6).then_some(socket.v6_only),
        ip_opts: Some(encode_ip(&socket.ip)),
        ifname: socket.interface.clone(),
        ns_id: Some(network),
        shutdown: (socket.shutdown != 0).then_some(socket.shutdown),
        tcp_opts: socket.tcp.as_ref().map(encode_tcp),
    })
}

/// Decodes a socket; `connection` finds what else there is of a TCP connection, or tells that it comes
/// back closed.
pub(super) fn decode(
    place: Place,
    entry: &InetSkEntry,
    connection: impl Fn(SocketId) -> Result<Option<TcpConnection>>,
) -> Result<InetSocket> {
    let port = |field, port: u32| {
        u16::try_from(port).map_err(|_| place.field(field, format!("{port} is no port")))
    };
    let mut socket = InetSocket {
        socket: SocketId(entry.ino),
        family: entry.family,
        socket_type: entry.r#type,
        protocol: entry.proto,
        state: SocketState::from_number(entry.state),
        local_port: port("src_port", entry.src_port)?,
        remote_port: port("dst_port", entry.dst_port)?,
        local_address: decode_address(place, "src_addr", entry.family, &entry.src_addr)?,
        remote_address: decode_address(place, "dst_addr", entry.family, &entry.dst_addr)?,
        backlog: entry.backlog,
        options: socket_options::decode(&entry.opts),
        v6_only: entry.v6only == Some(true),
        ip: entry.ip_opts.as_ref().map(decode_ip).unwrap_or_default(),
        tcp: entry.tcp_opts.as_ref().map(decode_tcp).or_else(|| decode_old_tcp(&entry.opts)),
        interface: entry.ifname.clone(),
        shutdown: entry.shutdown.unwrap_or(0),
        connection: None,
    };
    if socket.socket_type == SOCK_RAW {
        return Err(Error::unsupported(describe(&socket), "raw sockets cannot be restored"));
    }
    if socket.socket_type == SOCK_STREAM {
        check_state(place, &socket)?;
    }
    if socket.is_connection() {
        socket.connection = connection(socket.socket)?;
    }
    Ok(socket)
}

/// A socket is on its way to another one, or idle.
fn check_state(place: Place, socket: &InetSocket) -> Result<()> {
    const SYN_RECV: u32 = 3;
    const TIME_WAIT: u32 = 6;
    const CLOSING: u32 = 11;
    let has_peer = socket.remote_port != 0;
    match socket.state {
        SocketState::Closed => Ok(()),
        SocketState::Listening if !has_peer => Ok(()),
        SocketState::Other(SYN_RECV | TIME_WAIT) => {
            let reason = "a connection in this state cannot be restored";
            Err(Error::unsupported(describe(socket), reason))
        }
        SocketState::Established | SocketState::Other(1..=CLOSING) if has_peer => Ok(()),
        SocketState::Listening | SocketState::Established | SocketState::Other(_) => {
            let state = socket.state.number();
            Err(place.field("state", format!("{state} does not fit the addresses")))
        }
    }
}

fn describe(socket: &InetSocket) -> String {
    let kind = match socket.socket_type {
        SOCK_STREAM => "TCP",
        SOCK_RAW => "raw",
        _ => "UDP",
    };
    let end = |address: &[u8], port| match address_of(address) {
        Some(address) => SocketAddr::new(address, port).to_string(),
        None => format!("port {port}"),
    };
    let local = end(&socket.local_address, socket.local_port);
    let remote = end(&socket.remote_address, socket.remote_port);
    format!("{kind} socket {local} -> {remote}")
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn address_len(family: u32) -> usize {
    if family == AF_INET6 { 16 } else { 4 }
}

fn encode_address(socket: &InetSocket, bytes: &[u8]) -> Result<Vec<u32>> {
    if bytes.len() != address_len(socket.family) {
        return Err(Error::unwritable(describe(socket), "an address has a wrong length"));
    }
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    Ok(bytes.chunks_exact(4).map(word).collect())
}

fn decode_address(
    place: Place,
    field: &'static str,
    family: u32,
    words: &[u32],
) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if bytes.len() == address_len(family) {
        Ok(bytes)
    } else {
        Err(place.field(field, format!("{} bytes are no address", bytes.len())))
    }
}

fn encode_ip(ip: &IpOptions) -> IpOptsEntry {
    IpOptsEntry {
        freebind: ip.freebind.then_some(true),
        raw: None,
        pktinfo: ip.packet_info.then_some(true),
        tos: ip.tos,
        ttl: ip.ttl,
    }
}

fn decode_ip(entry: &IpOptsEntry) -> IpOptions {
    IpOptions {
        freebind: entry.freebind == Some(true),
        packet_info: entry.pktinfo == Some(true),
        tos: entry.tos,
        ttl: entry.ttl,
    }
}

fn encode_tcp(tcp: &TcpOptions) -> TcpOptsEntry {
    TcpOptsEntry {
        cork: tcp.cork.then_some(true),
        nodelay: tcp.no_delay.then_some(true),
        keepcnt: tcp.keep_count,
        keepidle: tcp.keep_idle,
        keepintvl: tcp.keep_interval,
    }
}

fn decode_tcp(entry: &TcpOptsEntry) -> TcpOptions {
    TcpOptions {
        cork: entry.cork == Some(true),
        no_delay: entry.nodelay == Some(true),
        keep_count: entry.keepcnt,
        keep_idle: entry.keepidle,
        keep_interval: entry.keepintvl,
    }
}

/// Old checkpoints have these options among those of all sockets.
fn decode_old_tcp(entry: &SkOptsEntry) -> Option<TcpOptions> {
    let any = entry.tcp_keepcnt.or(entry.tcp_keepidle).or(entry.tcp_keepintvl);
    any.map(|_| TcpOptions {
        keep_count: entry.tcp_keepcnt,
        keep_idle: entry.tcp_keepidle,
        keep_interval: entry.tcp_keepintvl,
        ..Default::default()
    })
}
