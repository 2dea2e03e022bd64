//! What comes to a published port by IPv6 and that the packet filter cannot send on: to the loopback
//! address, which has no way out of the host, and to any address if the network has none of that family.
//!
//! Such packets meet the socket that holds the port. A thread of the container's monitor takes them from
//! there and speaks to the container as the host itself; so they are gone with the monitor, however it ends.

mod datagrams;

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    error::{Context, Result},
    held_port::HeldPort,
    port::{Port, Protocol},
};
use datagrams::Datagrams;

/// Connections of one container at a time; others wait until one ends.
const MAX_CONNECTIONS: usize = 256;
const BACKLOG: i32 = 128;
const STACK_BYTES: usize = 128 << 10;
/// While something may end without a word to us.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The container is a neighbour: if it does not answer by then, it does not.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Where the container serves a port now, if it is in its network still.
pub type Target = dyn Fn(Port) -> Option<SocketAddr> + Send + Sync;

/// Ends when dropped; connections end with their ends.
#[derive(Debug)]
pub struct Relay {
    /// Its end tells the thread to stop.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Serves those of the ports that are held by IPv6; `None` if there are none.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] by the kernel.
    pub fn start(held: &[HeldPort], target: Box<Target>) -> Result<Option<Relay>> {
        let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
        for port in held.iter().filter(|port| port.ip.is_ipv6()) {
            let socket = port.socket.try_clone().context("duplicate", "a published port")?;
            match port.serves.protocol {
                Protocol::Tcp => listeners.push((listener(socket)?, port.serves)),
                Protocol::Udp => datagrams.push(Datagrams::new(socket, port.serves)?),
            }
        }
        if listeners.is_empty() && datagrams.is_empty() {
            return Ok(None);
        }
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
        let target = Arc::from(target);
        let mut serving =
            Serving { stopped, listeners, datagrams, target, connections: Arc::default() };
        let thread = Builder::new()
            .name("relay".into())
            .stack_size(STACK_BYTES)
            .spawn(move || serving.serve())
            .context("start", "the relay of published ports")?;
        Ok(Some(Relay { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        // The ports are free when it has ended.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listener(socket: OwnedFd) -> Result<TcpListener> {
    rustix::net::listen(&socket, BACKLOG).context("listen at", "a published port")?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).context("listen at", "a published port")?;
    Ok(listener)
}

/// The work of the thread.
struct Serving {
    stopped: OwnedFd,
    listeners: Vec<(TcpListener, Port)>,
    datagrams: Vec<Datagrams>,
    target: Arc<Target>,
    connections: Arc<AtomicUsize>,
}

impl Serving {
    fn serve(&mut self) {
        while !self.wait() {
            for (listener, port) in &self.listeners {
                // Whoever gave up meanwhile is no harm.
                if self.has_room()
                    && let Ok((stream, _)) = listener.accept()
                {
                    self.connect(stream, *port);
                }
            }
            for datagrams in &mut self.datagrams {
                datagrams.pass_on(&*self.target);
            }
        }
    }

    /// Waits until there is something to do; tells if it is to stop.
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::from_borrowed_fd(self.stopped.as_fd(), PollFlags::IN)];
        if self.has_room() {
            let listeners = self.listeners.iter().map(|(listener, _)| listener.as_fd());
            fds.extend(listeners.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        let sockets = self.datagrams.iter().flat_map(Datagrams::fds);
        fds.extend(sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let is_waiting = !self.has_room() || self.datagrams.iter().any(Datagrams::has_clients);
        let _ = poll(&mut fds, is_waiting.then_some(&PERIOD));
        !fds[0].revents().is_empty()
    }

    fn has_room(&self) -> bool {
        self.connections.load(Ordering::Relaxed) < MAX_CONNECTIONS
    }

    /// A client whose container does not answer finds its connection closed.
    fn connect(&self, client: TcpStream, port: Port) {
        let (target, connections) = (Arc::clone(&self.target), Arc::clone(&self.connections));
        connections.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::clone(&connections);
        let spawned = start(move || {
            if let Some(address) = target(port) {
                let _ = serve_one(client, address);
            }
            ended.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().stack_size(STACK_BYTES).spawn(work)
}

fn serve_one(client: TcpStream, address: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from, to) = (server.try_clone()?, client.try_clone()?);
    let back = start(move || pass_on(&from, &to))?;
    pass_on(&client, &server);
    let _ = back.join();
    Ok(())
}

/// One direction; its end is passed on as well, and what broke on one side is broken on both.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    match io::copy(&mut from, &mut to) {
        Ok(_) => drop(to.shutdown(Shutdown::Write)),
        Err(_) => {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}
