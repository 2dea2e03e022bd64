//! Two listening sockets that share one port (SO_REUSEPORT).

use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::prelude::*;

pub const GOAL: &str = "two listening sockets that share a port survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
    let make = |address: SocketAddr| -> anyhow::Result<_> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, 50)?;
        Ok(socket)
    };
    let first = make(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address: SocketAddr = getsockname(&first)?.try_into()?;
    let listeners = [first, make(address)?].map(TcpListener::from);
    stage.pause()?;
    let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    let mut accepted = [0, 0];
    for (listener, count) in listeners.iter().zip(&mut accepted) {
        listener.set_nonblocking(true)?;
        while listener.accept().is_ok() {
            *count += 1;
        }
    }
    ensure!(accepted[0] + accepted[1] == clients.len(), "accepted {accepted:?}");
    ensure!(accepted.iter().all(|count| *count > 0), "one got all: {accepted:?}");
    Ok(())
}
