//! epoll(7): watched descriptors, frozen from fdinfo.
//!
//! A watch remembers the number under which its file was added, even after that number was closed or
//! given to another file, as long as the file itself is open somewhere. So each watch is resolved to the
//! watched file once all descriptors of the tree are known.

use std::os::fd::OwnedFd;

use stasis_model::{Epoll, EpollWatch, FdNumber, FileId, FileKind, OpenFile, TableId};
use stasis_sys::kcmp::{self, EpollSlot};
use stasis_tracee::Batch;

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
};

const EPOLL_CTL_ADD: i32 = 1;

/// Watches whose files are looked up later.
#[derive(Debug)]
pub struct Unresolved {
    file: FileId,
    pid: i32,
    fd: i32,
    subject: stasis_model::Subject,
    table: TableId,
}

pub fn freeze(open: &OpenFd) -> Result<FileKind> {
    let watches = stasis_proctext::fdinfo::epoll(&open.info).map_err(|malformed| {
        Error::Unsupported { object: open.what(), reason: malformed.to_string() }
    })?;
    let watches = watches
        .into_iter()
        .map(|watch| EpollWatch {
            fd: FdNumber(watch.fd),
            events: watch.events,
            data: watch.data,
            target: Some((watch.device, watch.inode, watch.position)),
            file: None,
        })
        .collect();
    Ok(FileKind::Epoll(Epoll { watches }))
}

/// Remembers an epoll file for [`resolve`].
pub fn resolve_later(file: FileId, open: &OpenFd, table: TableId, gathering: &mut Gathering) {
    let (pid, fd, subject) = (open.pid, open.fd, open.subject());
    gathering.epolls.push(Unresolved { file, pid, fd, subject, table });
}

/// Finds the watched file of each watch whose number leads elsewhere by now.
pub fn resolve(
    gathering: &mut Gathering,
    host_pids: &dyn Fn(TableId) -> Option<i32>,
) -> Result<()> {
    for unresolved in std::mem::take(&mut gathering.epolls) {
        let Some(OpenFile { kind: FileKind::Epoll(epoll), .. }) =
            gathering.tree.files.get(&unresolved.file)
        else {
            continue;
        };
        let mut watches = epoll.watches.clone();
        for index in 0..watches.len() {
            let before = watches[..index].iter().filter(|other| other.fd == watches[index].fd);
            let slot = slot(unresolved.fd, watches[index].fd, before.count());
            let watch = &mut watches[index];
            match find_target(&unresolved, (watch, slot), gathering, host_pids) {
                Some(target) => watch.file = target,
                None => {
                    let reason =
                        format!("it watches a file (number {}) outside the tree", watch.fd);
                    gathering.obstacle(unresolved.subject.clone(), reason, None);
                }
            }
        }
        if let Some(OpenFile { kind: FileKind::Epoll(epoll), .. }) =
            gathering.tree.files.get_mut(&unresolved.file)
        {
            epoll.watches = watches;
        }
    }
    Ok(())
}

fn slot(set: i32, number: FdNumber, index: usize) -> EpollSlot {
    EpollSlot {
        set: set.cast_unsigned(),
        number: number.0.cast_unsigned(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

/// `Some(None)` if the number still leads to the file, `Some(Some(id))` if another one does.
fn find_target(
    unresolved: &Unresolved,
    (watch, slot): (&EpollWatch, EpollSlot),
    gathering: &Gathering,
    host_pids: &dyn Fn(TableId) -> Option<i32>,
) -> Option<Option<FileId>> {
    // Many files share one inode (both ends of a pipe, all eventfds), so the kernel is asked.
    let is_watched = |pid: i32, fd: FdNumber| {
        let candidate = (pid, fd.0.cast_unsigned());
        kcmp::is_watched(candidate, (unresolved.pid, slot)).unwrap_or(false)
    };
    let own_table = gathering.tree.tables.get(&unresolved.table)?;
    if own_table.descriptors.contains_key(&watch.fd) && is_watched(unresolved.pid, watch.fd) {
        return Some(None);
    }
    for (table, entry) in &gathering.tree.tables {
        let Some(pid) = host_pids(*table) else { continue };
        for (fd, descriptor) in &entry.descriptors {
            if is_watched(pid, *fd) {
                return Some(Some(descriptor.file));
            }
        }
    }
    None
}

/// Makes an empty one; the watches are added by [`add_watches`] in the task, because the kernel keeps
/// the number under which a file was added.
pub fn thaw() -> Result<OwnedFd> {
    rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
        .map_err(Error::at("epoll", "epoll_create1"))
}

/// Adds the watches of the epoll file that the task has as `fd`.
///
/// Watches whose number leads elsewhere get their file put there for the moment, through `spare`
/// descriptor numbers that hold it.
pub fn add_watches(epoll: &Epoll, fd: FdNumber, batch: &mut Batch) {
    for watch in &epoll.watches {
        let mut event = [0u8; 16];
        event[..4].copy_from_slice(&watch.events.to_ne_bytes());
        event[4..12].copy_from_slice(&watch.data.to_ne_bytes());
        let event = batch.bytes(&event);
        let arguments = [fd.0.into(), EPOLL_CTL_ADD.into(), watch.fd.0.into(), event.into()];
        batch.call("epoll_ctl", 233, arguments);
    }
}

/// Adds one watch whose number leads elsewhere: `file` is the number of a descriptor that leads to
/// the watched file; `parking` is a free number.
pub fn add_displaced_watch(
    watch: &EpollWatch,
    epoll_fd: FdNumber,
    (file, parking, occupied): (FdNumber, FdNumber, Option<bool>),
    batch: &mut Batch,
) {
    const DUP2: i64 = 33;
    const DUP3: i64 = 292;
    const CLOSE: i64 = 3;
    if occupied.is_some() {
        batch.call("dup2", DUP2, [watch.fd.0.into(), parking.0.into()]);
    }
    batch.call("dup2", DUP2, [file.0.into(), watch.fd.0.into()]);
    let single = Epoll { watches: vec![EpollWatch { file: None, ..*watch }] };
    add_watches(&single, epoll_fd, batch);
    match occupied {
        Some(close_on_exec) => {
            let flags = if close_on_exec { 0o2_000_000 } else { 0 };
            batch.call("dup3", DUP3, [parking.0.into(), watch.fd.0.into(), flags.into()]);
            batch.call("close", CLOSE, [parking.0.into()]);
        }
        None => {
            batch.call("close", CLOSE, [watch.fd.0.into()]);
        }
    }
}
