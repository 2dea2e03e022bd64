//! unix(7)

use stasis_model::{FileId, SocketId, SocketState, UnixName, UnixSocket};

use super::{
    path_file::{path, path_bytes},
    socket_options::{self, Family},
};
use crate::{
    Result,
    error::Place,
    wire::{
        fown::FownEntry,
        sk_unix::{FilePermsEntry, UnixSkEntry},
    },
};

pub(super) fn encode(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    socket: &UnixSocket,
    network: u32,
) -> UnixSkEntry {
    let name = socket.name.as_ref();
    UnixSkEntry {
        id: id.0,
        ino: socket.socket.0,
        r#type: socket.socket_type,
        state: socket.state.number(),
        flags,
        uflags: socket.foreign_flags,
        backlog: socket.backlog,
        peer: socket.peer.map_or(0, |peer| peer.0),
        fown,
        opts: socket_options::encode(&socket.options, Family::Unix),
        name: name.map(|name| name.bytes.clone()).unwrap_or_default(),
        shutdown: (socket.shutdown != 0).then_some(socket.shutdown),
        file_perms: name.and_then(encode_permissions),
        name_dir: name.and_then(|name| name.directory.as_deref()).map(path_bytes),
        deleted: name.is_some_and(|name| name.deleted).then_some(true),
        ns_id: Some(network),
        mnt_id: None,
    }
}

fn encode_permissions(name: &UnixName) -> Option<FilePermsEntry> {
    name.permissions.map(|(mode, uid, gid)| FilePermsEntry { mode, uid, gid })
}

pub(super) fn decode(place: Place, entry: &UnixSkEntry) -> Result<UnixSocket> {
    Ok(UnixSocket {
        socket: SocketId(entry.ino),
        socket_type: entry.r#type,
        state: SocketState::from_number(entry.state),
        backlog: entry.backlog,
        peer: Some(SocketId(entry.peer)).filter(|peer| peer.0 != 0),
        options: socket_options::decode(&entry.opts),
        name: decode_name(place, entry)?,
        shutdown: entry.shutdown.unwrap_or(0),
        foreign_flags: entry.uflags,
    })
}

fn decode_name(place: Place, entry: &UnixSkEntry) -> Result<Option<UnixName>> {
    /// `sun_path` has this many bytes.
    const MAX_LEN: usize = 108;
    if entry.name.len() > MAX_LEN {
        return Err(place.field("name", format!("is longer than {MAX_LEN} bytes")));
    }
    if entry.name.is_empty() {
        return Ok(None);
    }
    Ok(Some(UnixName {
        bytes: entry.name.clone(),
        directory: entry.name_dir.as_deref().map(path),
        deleted: entry.deleted == Some(true),
        permissions: entry.file_perms.as_ref().map(|perms| (perms.mode, perms.uid, perms.gid)),
    }))
}
