//! Listening unix sockets with an absolute path, a relative path and an abstract name take new
//! connections, and report the same name.

use std::{env, io::{Read, Write}, os::linux::net::SocketAddrExt, os::unix::net::{SocketAddr, UnixListener, UnixStream}};

use crate::prelude::*;

pub const GOAL: &str = "listening unix sockets keep their names and take connections";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    env::set_current_dir(stage.dir())?;
    let abstract_name = format!("zoo-{}", stage.dir().display());
    let abstract_address = SocketAddr::from_abstract_name(&abstract_name)?;
    let listeners = [
        UnixListener::bind(stage.path("absolute"))?,
        UnixListener::bind("relative")?,
        UnixListener::bind_addr(&abstract_address)?,
    ];
    crate::files::keep(stage, || {
        listeners.iter().map(|l| Ok(format!("{:?}", l.local_addr()?))).collect()
    })?;
    env::set_current_dir("/")?;
    let addresses = [
        SocketAddr::from_pathname(stage.path("absolute"))?,
        SocketAddr::from_pathname(stage.path("relative"))?,
        abstract_address,
    ];
    for (listener, address) in listeners.iter().zip(addresses) {
        let mut client = UnixStream::connect_addr(&address)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"hello")?;
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes)?;
        ensure!(&bytes == b"hello", "{bytes:?}");
    }
    Ok(())
}
