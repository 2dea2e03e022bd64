//! Locks on files: of a process (fcntl(2) `F_SETLK`), of an open file description (`F_OFD_SETLK`,
//! flock(2)). Frozen from fdinfo, which shows a lock at every descriptor through which it was taken.

use stasis_model::{FdNumber, FileId, FileLock, NsPid};
use stasis_proctext::fdinfo::{self, Lock, LockKind};
use stasis_sys::fcntl::LockType;
use stasis_tracee::{Batch, Blank};

use crate::{
    error::{Error, Result},
    gathering::{Gathering, OpenFd},
    thawing::Thawing,
};

/// Values of [`FileLock::kind`].
pub const POSIX: u32 = 1;
pub const FLOCK: u32 = 2;
pub const DESCRIPTION: u32 = 4;
pub const LEASE: u32 = 8;

const WRITE: u32 = 1;

/// What of the locks on an open file cannot be kept.
pub fn obstacle(info: &[u8]) -> Option<&'static str> {
    let locks = match fdinfo::locks(info) {
        Ok(locks) => locks,
        Err(_) => return Some("a lock of a kind that is not known"),
    };
    locks.iter().find_map(|lock| match lock.kind {
        LockKind::Posix | LockKind::Flock | LockKind::Description => None,
        LockKind::Lease => Some("a lease (fcntl(2), F_SETLEASE), which cannot be kept"),
        LockKind::Other => Some("a lock of a kind that is not known"),
    })
}

/// Adds the locks of an open file, each once.
///
/// `owner` is the process at whose descriptor they show.
pub fn freeze(open: &OpenFd, file: FileId, owner: NsPid, gathering: &mut Gathering) {
    if let Some(reason) = obstacle(&open.info) {
        gathering.obstacle(open.subject(), reason, None);
        return;
    }
    for lock in fdinfo::locks(&open.info).unwrap_or_default() {
        let kind = match lock.kind {
            LockKind::Posix => POSIX,
            LockKind::Flock => FLOCK,
            LockKind::Description => DESCRIPTION,
            LockKind::Lease | LockKind::Other => continue,
        };
        let frozen = FileLock {
            kind,
            lock_type: u32::from(lock.for_writing),
            owner,
            fd: FdNumber(open.fd),
            start: lock.start,
            len: len(&lock),
        };
        // A lock of a description shows in all processes that have it, one of a process at all
        // duplicates of the descriptor.
        let holder = (kind == POSIX).then_some(owner);
        if gathering.locks.insert((file, kind, lock.start, holder)) {
            gathering.tree.locks.push(frozen);
        }
    }
}

fn len(lock: &Lock) -> i64 {
    lock.last.map_or(0, |last| last.saturating_sub(lock.start).saturating_add(1))
}

/// Takes a lock again, when all descriptors are in place: closing any of them would release it.
///
/// # Errors
/// [`Error::Kernel`] with `EAGAIN` if somebody else holds it by now.
pub fn thaw(lock: &FileLock, thawing: &Thawing, owner: &mut Blank) -> Result<()> {
    let what = format!("lock on descriptor {} of process {}", lock.fd, lock.owner);
    match lock.kind {
        POSIX => Ok(thaw_of_process(lock, owner)?),
        DESCRIPTION => {
            let file = described(lock, thawing, &what)?;
            let kind = if lock.lock_type == WRITE { LockType::Write } else { LockType::Read };
            stasis_sys::fcntl::lock_for_description(file, kind, (lock.start, lock.len))
                .map_err(Error::at(what, "fcntl(F_OFD_SETLK)"))
        }
        FLOCK => {
            use rustix::fs::FlockOperation::{NonBlockingLockExclusive, NonBlockingLockShared};
            let file = described(lock, thawing, &what)?;
            let exclusive = lock.lock_type == WRITE;
            let how = if exclusive { NonBlockingLockExclusive } else { NonBlockingLockShared };
            rustix::fs::flock(file, how).map_err(Error::at(what, "flock"))
        }
        other => {
            let reason = format!("locks of kind {other} cannot be restored");
            Err(Error::Unsupported { object: what, reason })
        }
    }
}

fn thaw_of_process(lock: &FileLock, owner: &mut Blank) -> stasis_tracee::Result<()> {
    const FCNTL: i64 = 72;
    const F_SETLK: i32 = 6;
    let mut batch = Batch::new();
    // `struct flock`: type, whence (SEEK_SET), start, length, pid.
    let range =
        [u64::from(lock.lock_type), lock.start.cast_unsigned(), lock.len.cast_unsigned(), 0];
    let range = batch.words(&range);
    batch.call("fcntl(F_SETLK)", FCNTL, [lock.fd.0.into(), F_SETLK.into(), range.into()]);
    owner.run(&batch).map(drop)
}

/// The supervisor has the same open file description as the owner.
fn described<'a>(
    lock: &FileLock,
    thawing: &'a Thawing,
    what: &str,
) -> Result<std::os::fd::BorrowedFd<'a>> {
    let tree = thawing.tree();
    let file = tree.process(lock.owner).and_then(|process| {
        let table = tree.tables.get(&process.live()?.descriptors)?;
        thawing.file(table.descriptors.get(&lock.fd)?.file)
    });
    file.ok_or_else(|| Error::Unsupported {
        object: what.into(),
        reason: "there is no such descriptor".into(),
    })
}
