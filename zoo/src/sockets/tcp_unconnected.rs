//! TCP sockets that are only created, only bound, and that were closed again.

use std::net::{SocketAddr, TcpListener};

use crate::prelude::*;

pub const GOAL: &str = "TCP sockets that are created or bound survive";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket};
    let make = || socket(AddressFamily::INET, SocketType::STREAM, None);
    let (created, bound) = (make()?, make()?);
    bind(&bound, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address: SocketAddr = getsockname(&bound)?.try_into()?;
    stage.pause()?;
    let now: SocketAddr = getsockname(&bound)?.try_into()?;
    ensure!(now == address, "bound to {now} instead of {address}");
    listen(&bound, 1).context("the bound socket cannot listen")?;
    connect(&created, &address).context("nobody at the bound address")?;
    drop(TcpListener::from(bound).accept()?);
    Ok(())
}
