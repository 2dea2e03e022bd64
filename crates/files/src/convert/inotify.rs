//! inotify(7).

use stasis_model::{FileId, Inotify, InotifyWatch};

use super::path_file::{path, path_bytes};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        fown::FownEntry,
        fsnotify::{FhEntry, InotifyFileEntry, InotifyWdEntry},
    },
};

/// CRIU takes this many words whatever the handle's length is.
const HANDLE_WORDS: usize = 16;
const WORD_LEN: usize = 8;

pub(super) fn encode(
    id: FileId,
    flags: u32,
    fown: FownEntry,
    inotify: &Inotify,
) -> Result<InotifyFileEntry> {
    let wd = inotify.watches.iter().map(encode_watch).collect::<Result<_>>()?;
    Ok(InotifyFileEntry { id: id.0, flags, fown, wd })
}

pub(super) fn decode(place: Place, entry: &InotifyFileEntry) -> Result<Inotify> {
    let watches = entry.wd.iter().map(|watch| decode_watch(place, watch));
    Ok(Inotify { watches: watches.collect::<Result<_>>()? })
}

fn encode_watch(watch: &InotifyWatch) -> Result<InotifyWdEntry> {
    if watch.handle.len() > HANDLE_WORDS * WORD_LEN {
        let object = format!("inotify watch {}", watch.wd);
        return Err(Error::unwritable(object, "its file handle is too long"));
    }
    Ok(InotifyWdEntry {
        id: 0,
        i_ino: watch.inode,
        mask: watch.mask,
        ignored_mask: watch.ignored_mask,
        s_dev: watch.device,
        wd: watch.wd,
        f_handle: FhEntry {
            bytes: watch.handle.len() as u32,
            r#type: watch.handle_type,
            handle: words(&watch.handle),
            path: watch.path.as_deref().map(path_bytes),
            mnt_id: None,
        },
    })
}

fn words(handle: &[u8]) -> Vec<u64> {
    let mut padded = [0; HANDLE_WORDS * WORD_LEN];
    padded[..handle.len()].copy_from_slice(handle);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    padded.chunks_exact(WORD_LEN).map(word).collect()
}

fn decode_watch(place: Place, entry: &InotifyWdEntry) -> Result<InotifyWatch> {
    let mut handle: Vec<u8> =
        entry.f_handle.handle.iter().flat_map(|word| word.to_le_bytes()).collect();
    let len = entry.f_handle.bytes as usize;
    if len > handle.len() {
        return Err(place.field("f_handle", format!("does not have {len} bytes")));
    }
    handle.truncate(len);
    Ok(InotifyWatch {
        wd: entry.wd,
        mask: entry.mask,
        ignored_mask: entry.ignored_mask,
        inode: entry.i_ino,
        device: entry.s_dev,
        handle_type: entry.f_handle.r#type,
        handle,
        path: entry.f_handle.path.as_deref().map(path),
    })
}
