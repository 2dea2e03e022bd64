//! Pairs of datagram and sequenced-packet sockets with several messages in both directions.

use crate::prelude::*;

pub const GOAL: &str = "datagram and sequenced-packet pairs keep their messages and boundaries";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};
    let messages: [&[u8]; 4] = [b"one", b"", b"the third one", &[7; 3000]];
    let mut pairs = Vec::new();
    for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
        let (a, b) = super::pair(kind)?;
        for message in messages {
            send(&a, message, SendFlags::empty())?;
        }
        send(&b, b"back", SendFlags::empty())?;
        pairs.push((a, b, kind));
    }
    stage.pause()?;
    let mut bytes = [0; 4000];
    for (a, b, kind) in pairs {
        for message in messages {
            let (_, len) = recv(&b, &mut bytes, RecvFlags::DONTWAIT)?;
            ensure!(&bytes[..len] == message, "{kind:?}: {:?}", &bytes[..len]);
        }
        let (_, len) = recv(&a, &mut bytes, RecvFlags::DONTWAIT)?;
        ensure!(&bytes[..len] == b"back", "{kind:?}: {:?}", &bytes[..len]);
        send(&a, b"more", SendFlags::empty())?;
        let (_, len) = recv(&b, &mut bytes, RecvFlags::DONTWAIT)?;
        ensure!(&bytes[..len] == b"more", "{kind:?}: {:?}", &bytes[..len]);
    }
    Ok(())
}
