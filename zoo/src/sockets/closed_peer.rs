//! Data in one end of a pair whose other end is closed.

use crate::prelude::*;

pub const GOAL: &str = "data from a closed peer is kept, then comes the end";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};
    let mut left = Vec::new();
    for kind in [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM] {
        let (a, b) = super::pair(kind)?;
        send(&a, b"last words", SendFlags::empty())?;
        left.push((kind, b));
    }
    stage.pause()?;
    let mut bytes = [0; 100];
    for (kind, socket) in left {
        let (_, len) = recv(&socket, &mut bytes, RecvFlags::DONTWAIT)?;
        ensure!(&bytes[..len] == b"last words", "{kind:?}: {:?}", &bytes[..len]);
        let end = recv(&socket, &mut bytes, RecvFlags::DONTWAIT).map(|(_, len)| len);
        let wanted = if kind == SocketType::DGRAM { Err(rustix::io::Errno::AGAIN) } else { Ok(0) };
        ensure!(end == wanted, "{kind:?}: then {end:?}");
        let sent = send(&socket, b"x", SendFlags::NOSIGNAL);
        ensure!(sent.is_err(), "{kind:?}: sent to nobody");
    }
    Ok(())
}
