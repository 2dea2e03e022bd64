//! Datagrams through a relay: each client has a socket of its own to the container, by which answers find
//! back, until nobody has spoken for a while.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use crate::{
    error::{Context, Result},
    port::Port,
};

/// As long as Docker's proxy remembers a client.
const MEMORY: Duration = Duration::from_secs(90);
const MAX_CLIENTS: usize = 128;
/// The largest that UDP can carry.
const MAX_BYTES: usize = 1 << 16;
/// In one go: others want to be heard too.
const MAX_AT_ONCE: usize = 64;

/// A published port for datagrams.
pub(super) struct Datagrams {
    socket: UdpSocket,
    port: Port,
    clients: HashMap<SocketAddr, Client>,
    buffer: Vec<u8>,
}

struct Client {
    server: UdpSocket,
    spoke: Instant,
}

impl Datagrams {
    pub fn new(socket: OwnedFd, port: Port) -> Result<Datagrams> {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true).context("listen at", "a published port")?;
        Ok(Datagrams { socket, port, clients: HashMap::new(), buffer: Vec::new() })
    }

    /// What to look after.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let servers = self.clients.values().map(|client| client.server.as_fd());
        std::iter::once(self.socket.as_fd()).chain(servers)
    }

    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Passes on what lies there, in both directions, and forgets who is silent.
    pub fn pass_on(&mut self, target: &dyn Fn(Port) -> Option<SocketAddr>) {
        self.buffer.resize(MAX_BYTES, 0);
        for _ in 0..MAX_AT_ONCE {
            let Ok((len, from)) = self.socket.recv_from(&mut self.buffer) else { break };
            // Nobody is told of a lost datagram.
            let _ = self.send(from, len, target);
        }
        for (address, client) in &mut self.clients {
            for _ in 0..MAX_AT_ONCE {
                let Ok(len) = client.server.recv(&mut self.buffer) else { break };
                client.spoke = Instant::now();
                let _ = self.socket.send_to(&self.buffer[..len], address);
            }
        }
        self.clients.retain(|_, client| client.spoke.elapsed() < MEMORY);
        if self.clients.is_empty() {
            self.buffer = Vec::new();
        }
    }

    fn send(
        &mut self,
        from: SocketAddr,
        len: usize,
        target: &dyn Fn(Port) -> Option<SocketAddr>,
    ) -> io::Result<()> {
        let address = target(self.port).ok_or(io::ErrorKind::HostUnreachable)?;
        let is_there = self.clients.get(&from).is_some_and(|client| client.leads_to(address));
        if !is_there {
            if self.clients.len() >= MAX_CLIENTS {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            self.clients.insert(from, Client::new(address)?);
        }
        let client = self.clients.get_mut(&from).ok_or(io::ErrorKind::NotFound)?;
        client.spoke = Instant::now();
        client.server.send(&self.buffer[..len]).map(drop)
    }
}

impl Client {
    fn new(address: SocketAddr) -> io::Result<Client> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let server = UdpSocket::bind((any, 0))?;
        server.connect(address)?;
        server.set_nonblocking(true)?;
        Ok(Client { server, spoke: Instant::now() })
    }

    /// A container may have another address than when the client spoke first.
    fn leads_to(&self, address: SocketAddr) -> bool {
        self.server.peer_addr().is_ok_and(|peer| peer == address)
    }
}
