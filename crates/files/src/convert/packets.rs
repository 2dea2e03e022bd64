//! Messages in the receive queues of unix sockets.

use stasis_model::{Ancillary, FileId, UnixPacket};

use super::source::{Input, Output};
use crate::{
    Error, Result,
    error::Place,
    wire::sk_unix::{ScmEntry, SkPacketEntry},
};

const FILE: &str = "sk-queues.img";
const SCM_RIGHTS: u32 = 1;

pub(super) fn encode(packets: &[UnixPacket], out: &mut Output) -> Result<()> {
    let entries = packets.iter().map(encode_packet);
    out.with_payload(FILE, &entries.collect::<Result<Vec<_>>>()?);
    Ok(())
}

fn encode_packet(packet: &UnixPacket) -> Result<(SkPacketEntry, &[u8])> {
    let length = u32::try_from(packet.data.len()).map_err(|_| {
        let object = format!("a message for file {}", packet.receiver);
        Error::unwritable(object, "it is longer than 4 GiB")
    })?;
    let rights: Vec<u32> = packet.ancillary.files.iter().map(|file| file.0).collect();
    let scm = ScmEntry { r#type: SCM_RIGHTS, rights };
    let entry = SkPacketEntry {
        id_for: packet.receiver.0,
        length,
        scm: if scm.rights.is_empty() { Vec::new() } else { vec![scm] },
        sender: packet.sender.clone(),
    };
    Ok((entry, &packet.data))
}

pub(super) fn decode(input: Input) -> Result<Vec<UnixPacket>> {
    let entries = input.with_payload(FILE, |entry: &SkPacketEntry| entry.length.into())?;
    let numbered = entries.into_iter().enumerate();
    let packet = |(index, (entry, data)): (usize, (SkPacketEntry, Vec<u8>))| {
        let ancillary = decode_ancillary(Place::new(FILE, index + 1), &entry.scm)?;
        let receiver = FileId(entry.id_for);
        Ok(UnixPacket { receiver, data, ancillary, sender: entry.sender })
    };
    numbered.map(packet).collect()
}

fn decode_ancillary(place: Place, scm: &[ScmEntry]) -> Result<Ancillary> {
    if let Some(other) = scm.iter().find(|entry| entry.r#type != SCM_RIGHTS) {
        return Err(place.field("scm", format!("type {} is not known", other.r#type)));
    }
    let files = scm.iter().flat_map(|entry| &entry.rights).map(|id| FileId(*id)).collect();
    Ok(Ancillary { files })
}
