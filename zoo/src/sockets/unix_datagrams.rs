//! Bound datagram sockets: messages of several senders wait with their addresses; one socket is
//! connected to another by name.

use std::os::unix::net::UnixDatagram;

use crate::prelude::*;

pub const GOAL: &str = "waiting datagrams keep their senders, connected sockets their target";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let bind = |name| UnixDatagram::bind(stage.path(name));
    let (target, one, two) = (bind("target")?, bind("one")?, bind("two")?);
    let nameless = UnixDatagram::unbound()?;
    one.connect(stage.path("target"))?;
    nameless.connect(stage.path("target"))?;
    one.send(b"from one")?;
    two.send_to(b"from two", stage.path("target"))?;
    nameless.send(b"from nobody")?;
    stage.pause()?;
    target.set_nonblocking(true)?;
    let mut bytes = [0; 100];
    let wanted = [("from one", Some("one")), ("from two", Some("two")), ("from nobody", None)];
    for (text, name) in wanted {
        let (len, from) = target.recv_from(&mut bytes).with_context(|| text)?;
        ensure!(&bytes[..len] == text.as_bytes(), "{:?}", &bytes[..len]);
        let path = name.map(|name| stage.path(name));
        ensure!(from.as_pathname() == path.as_deref(), "{text} comes from {from:?}");
    }
    one.send(b"again").context("no longer connected")?;
    nameless.send(b"and again").context("no longer connected")?;
    let (len, _) = target.recv_from(&mut bytes)?;
    ensure!(&bytes[..len] == b"again", "{:?}", &bytes[..len]);
    Ok(())
}
