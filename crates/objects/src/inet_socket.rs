//! TCP and UDP sockets: new, bound, listening; and connected UDP. What TCP connections are beside is in
//! `tcp_connection`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use stasis_model::{FileKind, InetSocket, IpOptions, OpenFile, SocketId, SocketState, TcpOptions};
use stasis_sys::socket;
use stasis_tracee::{Batch, Blank};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd, file_of},
    socket_options, tcp_connection,
};

const AF_INET6: i32 = 10;
const STREAM: i32 = 1;
const DATAGRAM: i32 = 2;
const RAW: i32 = 3;
const UDP_CORK: i32 = 1;
const TCP: i32 = 6;
const UDP: i32 = 17;
const IPPROTO_IP: i32 = 0;
const IPPROTO_IPV6: i32 = 41;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSE: u8 = 7;
const TCP_SYN_SENT: u8 = 2;

/// What the kernel tells of a TCP socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpInfo([u8; 104]);

impl TcpInfo {
    pub fn state(&self) -> u8 {
        self.0[0]
    }

    pub fn has_timestamps(&self) -> bool {
        self.0[5] & 1 != 0
    }

    pub fn has_selective_acks(&self) -> bool {
        self.0[5] & 2 != 0
    }

    /// Shifts of the peer's window and of ours, half a byte each.
    pub fn window_scale(&self) -> Option<(u8, u8)> {
        (self.0[5] & 4 != 0).then_some((self.0[6] & 0xf, self.0[6] >> 4))
    }

    /// For a listening socket: connections that wait to be accepted (`tcpi_unacked`).
    pub fn waiting(&self) -> u32 {
        self.word(24)
    }

    /// For a listening socket: how many may wait (`tcpi_sacked`).
    pub fn backlog(&self) -> u32 {
        self.word(28)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

pub(crate) fn tcp_info(what: &str, fd: BorrowedFd<'_>) -> Result<TcpInfo> {
    let mut bytes = [0; 104];
    socket::get_bytes(fd, TCP, libc::TCP_INFO, &mut bytes)
        .map_err(Error::at(what, "getsockopt(TCP_INFO)"))?;
    Ok(TcpInfo(bytes))
}

/// Why a socket cannot be kept, if so.
pub fn obstacle(fd: BorrowedFd<'_>) -> Option<String> {
    let int = |name| socket::get_int(fd, libc::SOL_SOCKET, name).ok();
    let family = int(libc::SO_DOMAIN)?;
    let kind = (int(libc::SO_TYPE)?, int(libc::SO_PROTOCOL)?);
    match kind {
        (STREAM, TCP) => None,
        (DATAGRAM, UDP) => {
            let corked = socket::get_int(fd, UDP, UDP_CORK).is_ok_and(|on| on != 0);
            corked.then(|| "a UDP socket that holds a datagram back (UDP_CORK)".into())
        }
        (RAW, _) => Some("a raw internet socket".into()),
        (kind, protocol) => Some(format!(
            "an internet socket (family {family}, type {kind}, protocol {protocol}) that is neither TCP nor UDP"
        )),
    }
}

/// What of a socket is not kept, if anything.
pub fn loss(fd: BorrowedFd<'_>) -> Option<String> {
    let protocol = socket::get_int(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL).ok()?;
    if protocol == UDP {
        let waiting = stasis_sys::ioctl::readable_bytes(fd).unwrap_or(0) > 0;
        return waiting.then(|| "datagrams that wait in it".into());
    }
    let info = tcp_info("socket", fd).ok()?;
    let waiting = info.waiting();
    match info.state() {
        TCP_LISTEN if waiting > 0 => {
            Some(format!("{waiting} connection(s) not yet accepted are closed"))
        }
        TCP_CLOSE => tcp_connection::loss_of_ended(fd),
        // Of a connection everything is kept, or nothing, which its freeze tells.
        _ => None,
    }
}

pub fn freeze(open: &OpenFd, gathering: &mut Gathering) -> Result<Option<FileKind>> {
    let what = open.what();
    let fd = file_of(open)?;
    if let Some(reason) = obstacle(fd) {
        gathering.obstacle(open.subject(), reason, None);
        return Ok(None);
    }
    let int =
        |level, name| socket::get_int(fd, level, name).map_err(Error::at(&what, "getsockopt"));
    let family = int(libc::SOL_SOCKET, libc::SO_DOMAIN)?;
    let socket_type = int(libc::SOL_SOCKET, libc::SO_TYPE)?;
    let protocol = int(libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
    let local = address(fd, End::Local);
    let mut remote = address(fd, End::Remote);
    let (mut state, mut backlog) = (SocketState::Closed, 0);
    if protocol == TCP {
        let info = tcp_info(&what, fd)?;
        state = SocketState::from_number(info.state().into());
        backlog = if info.state() == TCP_LISTEN { info.backlog() } else { 0 };
        if info.state() == TCP_SYN_SENT {
            remote = remote.or_else(|| future_peer(open));
            if remote.is_none() {
                let reason = "a TCP connection that is being made, nobody says to whom";
                gathering.obstacle(open.subject(), reason, None);
                return Ok(None);
            }
        }
    } else if remote.is_some() {
        state = SocketState::Established;
    }
    if let Some(reason) = loss(fd) {
        gathering.loss(open.subject(), reason);
    }
    let mut options = socket_options::freeze(&what, fd)?;
    if remote.is_some() {
        // Of a connected socket it tells where the last packet came in, not what a program wants.
        options.further.retain(|option| option.name != libc::SO_INCOMING_CPU);
    }
    let unbound = unspecified(family);
    let local = local.unwrap_or(unbound);
    let remote = remote.unwrap_or(unbound);
    Ok(Some(FileKind::Inet(InetSocket {
        socket: SocketId(u32::try_from(open.stat.st_ino).unwrap_or(0)),
        family: family.cast_unsigned(),
        socket_type: socket_type.cast_unsigned(),
        protocol: protocol.cast_unsigned(),
        state,
        local_port: local.port(),
        remote_port: remote.port(),
        local_address: octets(local.ip()),
        remote_address: octets(remote.ip()),
        backlog,
        options,
        v6_only: family == AF_INET6 && int(IPPROTO_IPV6, libc::IPV6_V6ONLY)? != 0,
        ip: ip_options(family, fd),
        tcp: (protocol == TCP).then(|| tcp_options(fd)),
        interface: scope(local),
        shutdown: if is_tcp_and_ended(protocol, state, fd) { NO_MORE } else { 0 },
        connection: None,
    })))
}

/// Whom a socket is about to connect to; getpeername(2) does not tell yet.
fn future_peer(open: &OpenFd) -> Option<SocketAddr> {
    ["tcp", "tcp6"].iter().find_map(|table| {
        let text = std::fs::read(format!("/proc/{}/net/{table}", open.pid)).ok()?;
        stasis_proctext::tcp_table::remote_end(&text, open.stat.st_ino)
    })
}

/// Shut down in both directions (`InetSocket::shutdown`).
const NO_MORE: u32 = 3;

/// Whether a closed socket is at the end of a connection that it had.
fn is_tcp_and_ended(protocol: i32, state: SocketState, fd: BorrowedFd<'_>) -> bool {
    protocol == TCP && state == SocketState::Closed && tcp_connection::has_ended(fd)
}

fn ip_options(family: i32, fd: BorrowedFd<'_>) -> IpOptions {
    let get = |level, name| socket::get_int(fd, level, name).ok();
    let packet_info = match family {
        AF_INET6 => get(IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        _ => get(IPPROTO_IP, libc::IP_PKTINFO),
    };
    IpOptions {
        freebind: get(IPPROTO_IP, libc::IP_FREEBIND).is_some_and(|on| on != 0),
        packet_info: packet_info.is_some_and(|on| on != 0),
        tos: get(IPPROTO_IP, libc::IP_TOS).filter(|tos| *tos != 0).map(i32::cast_unsigned),
        ttl: get(IPPROTO_IP, libc::IP_TTL).map(i32::cast_unsigned),
    }
}

fn tcp_options(fd: BorrowedFd<'_>) -> TcpOptions {
    let get = |name| socket::get_int(fd, TCP, name).ok();
    TcpOptions {
        cork: get(libc::TCP_CORK).is_some_and(|on| on != 0),
        no_delay: get(libc::TCP_NODELAY).is_some_and(|on| on != 0),
        keep_count: get(libc::TCP_KEEPCNT).map(i32::cast_unsigned),
        keep_idle: get(libc::TCP_KEEPIDLE).map(i32::cast_unsigned),
        keep_interval: get(libc::TCP_KEEPINTVL).map(i32::cast_unsigned),
    }
}

pub(crate) enum End {
    Local,
    Remote,
}

/// The bound or connected address; `None` if there is none.
pub(crate) fn address(fd: BorrowedFd<'_>, end: End) -> Option<SocketAddr> {
    let answer = match end {
        End::Local => rustix::net::getsockname(fd).ok()?,
        End::Remote => rustix::net::getpeername(fd).ok()??,
    };
    SocketAddr::try_from(answer).ok()
}

fn unspecified(family: i32) -> SocketAddr {
    match family {
        AF_INET6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Interface of a link-local address.
fn scope(address: SocketAddr) -> Option<Vec<u8>> {
    let SocketAddr::V6(v6) = address else { return None };
    let index = v6.scope_id();
    let names = std::fs::read_dir("/sys/class/net").ok()?;
    let mut names = names.flatten().filter(|entry| {
        let text = std::fs::read_to_string(entry.path().join("ifindex")).unwrap_or_default();
        index != 0 && text.trim() == index.to_string()
    });
    names.next().map(|entry| entry.file_name().into_encoded_bytes())
}

/// Makes the socket and binds it.
pub fn thaw(inet: &InetSocket, file: &OpenFile, nursery: &mut Blank) -> Result<OwnedFd> {
    let local = socket_address(&inet.local_address, inet.local_port, inet)?;
    let what = describe(inet, local);
    let made = make(inet, nursery, &what)?;
    thaw_ip_options(inet, made.as_fd(), &what)?;
    let unspecified = local.ip().is_unspecified() && local.port() == 0;
    // Whose connection has ended holds no port any more, though it still knows which it was.
    if !unspecified && !has_ended(inet) {
        rustix::net::bind(&made, &local).map_err(Error::at(&what, "bind"))?;
    }
    if inet.state == SocketState::Listening {
        let backlog = i32::try_from(inet.backlog).unwrap_or(i32::MAX);
        rustix::net::listen(&made, backlog).map_err(Error::at(&what, "listen"))?;
    }
    if inet.state == SocketState::Established {
        let remote = socket_address(&inet.remote_address, inet.remote_port, inet)?;
        rustix::net::connect(&made, &remote).map_err(Error::at(&what, "connect"))?;
    }
    socket_options::thaw(&what, &inet.options, made.as_fd())?;
    if has_ended(inet) {
        // Says that there is no connection, and shuts down all the same (`inet_shutdown`).
        let _ = rustix::net::shutdown(&made, rustix::net::Shutdown::Both);
    }
    stasis_sys::fcntl::set_status_flags(made.as_fd(), file.flags)
        .map_err(Error::at(&what, "F_SETFL"))?;
    Ok(made)
}

/// Makes a socket in a blank, so that it is in the tree's network namespace, with all that must be said
/// before it gets an address.
pub(crate) fn make(inet: &InetSocket, nursery: &mut Blank, what: &str) -> Result<OwnedFd> {
    const SOCKET: i64 = 41;
    let mut batch = Batch::new();
    let arguments = [inet.family.into(), inet.socket_type.into(), inet.protocol.into()];
    let made = batch.call("socket", SOCKET, arguments);
    let fd = nursery.run(&batch)?.result(made).map_err(Error::at(what, "socket"))?;
    let made = crate::descriptor::take_over(nursery, fd)?;
    socket_options::thaw_before_bind(what, &inet.options, made.as_fd())?;
    let set = |level, name, value: i32| {
        socket::set_int(made.as_fd(), level, name, value).map_err(Error::at(what, "setsockopt"))
    };
    if inet.family.cast_signed() == AF_INET6 {
        set(IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(inet.v6_only))?;
    }
    if inet.ip.freebind {
        set(IPPROTO_IP, libc::IP_FREEBIND, 1)?;
    }
    Ok(made)
}

fn has_ended(inet: &InetSocket) -> bool {
    inet.shutdown == NO_MORE && inet.state == SocketState::Closed
}

fn describe(inet: &InetSocket, local: SocketAddr) -> String {
    let protocol = if inet.protocol.cast_signed() == TCP { "TCP" } else { "UDP" };
    format!("{protocol} socket {local}")
}

pub(crate) fn thaw_ip_options(inet: &InetSocket, fd: BorrowedFd<'_>, what: &str) -> Result<()> {
    let set = |level, name, value: i32| {
        socket::set_int(fd, level, name, value).map_err(Error::at(what, "setsockopt"))
    };
    let v6 = inet.family.cast_signed() == AF_INET6;
    if inet.ip.packet_info && v6 {
        set(IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    }
    if inet.ip.packet_info && !v6 {
        set(IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    if let Some(tos) = inet.ip.tos {
        set(IPPROTO_IP, libc::IP_TOS, tos.cast_signed())?;
    }
    if let Some(ttl) = inet.ip.ttl.filter(|ttl| (1..=255).contains(ttl)) {
        set(IPPROTO_IP, libc::IP_TTL, ttl.cast_signed())?;
    }
    let Some(tcp) = &inet.tcp else { return Ok(()) };
    if tcp.no_delay {
        set(TCP, libc::TCP_NODELAY, 1)?;
    }
    if tcp.cork {
        set(TCP, libc::TCP_CORK, 1)?;
    }
    let numbers = [
        (libc::TCP_KEEPCNT, tcp.keep_count),
        (libc::TCP_KEEPIDLE, tcp.keep_idle),
        (libc::TCP_KEEPINTVL, tcp.keep_interval),
    ];
    for (name, value) in numbers {
        if let Some(value) = value.filter(|value| *value > 0) {
            set(TCP, name, value.cast_signed())?;
        }
    }
    Ok(())
}

pub(crate) fn socket_address(bytes: &[u8], port: u16, inet: &InetSocket) -> Result<SocketAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(SocketAddr::new(Ipv4Addr::from(v4).into(), port));
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        let scope = inet.interface.as_deref().map_or(0, interface_index);
        return Ok(SocketAddrV6::new(v6.into(), port, 0, scope).into());
    }
    let reason = format!("its address has {} bytes", bytes.len());
    Err(Error::Unsupported { object: format!("internet socket {}", inet.socket), reason })
}

fn interface_index(name: &[u8]) -> u32 {
    let name = String::from_utf8_lossy(name).replace('/', "");
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn only_what_nobody_keeps_is_a_loss() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let waiting = loss(listener.as_fd()).unwrap_or_default();
        assert!(waiting.starts_with("1 connection(s)"), "{waiting}");
        let (server, _) = listener.accept().unwrap();
        assert_eq!(loss(listener.as_fd()), None);
        client.write_all(b"unread").unwrap();
        server.peek(&mut [0]).unwrap();
        assert_eq!(loss(server.as_fd()), None, "a connection is kept with what it has received");
    }
}
