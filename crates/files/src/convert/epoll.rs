//! epoll(7).

use stasis_model::{Epoll, EpollWatch, FdNumber, FileId};

use crate::{
    Result,
    error::Place,
    wire::{
        event::{EventpollFileEntry, EventpollTfdEntry},
        fown::FownEntry,
    },
};

pub(super) fn encode(id: FileId, flags: u32, fown: FownEntry, epoll: &Epoll) -> EventpollFileEntry {
    EventpollFileEntry {
        id: id.0,
        flags,
        fown,
        tfd: epoll.watches.iter().map(encode_watch).collect(),
    }
}

pub(super) fn decode(place: Place, entry: &EventpollFileEntry) -> Result<Epoll> {
    let watches = entry.tfd.iter().map(|watch| decode_watch(place, watch));
    Ok(Epoll { watches: watches.collect::<Result<_>>()? })
}

fn encode_watch(watch: &EpollWatch) -> EventpollTfdEntry {
    EventpollTfdEntry {
        id: 0,
        tfd: watch.fd.0.cast_unsigned(),
        events: watch.events,
        data: watch.data,
        dev: watch.target.map(|(device, _, _)| device),
        inode: watch.target.map(|(_, inode, _)| inode),
        pos: watch.target.map(|(_, _, position)| position),
        file_id: watch.file.map(|file| file.0),
    }
}

fn decode_watch(place: Place, entry: &EventpollTfdEntry) -> Result<EpollWatch> {
    let fd = i32::try_from(entry.tfd);
    let target = entry.dev.zip(entry.inode).zip(entry.pos);
    Ok(EpollWatch {
        fd: FdNumber(fd.map_err(|_| place.field("tfd", "is no descriptor"))?),
        events: entry.events,
        data: entry.data,
        target: target.map(|((device, inode), position)| (device, inode, position)),
        file: entry.file_id.map(FileId),
    })
}
