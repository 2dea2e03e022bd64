//! File locks.

use stasis_model::{FdNumber, FileLock, NsPid};

use super::source::{Input, Output};
use crate::{Result, wire::file_lock::FileLockEntry};

const FILE: &str = "filelocks.img";

pub(super) fn encode(locks: &[FileLock], out: &mut Output) {
    let entry = |lock: &FileLock| FileLockEntry {
        flag: lock.kind,
        r#type: lock.lock_type,
        pid: lock.owner.0,
        fd: lock.fd.0,
        start: lock.start,
        len: lock.len,
    };
    out.all(FILE, &locks.iter().map(entry).collect::<Vec<_>>());
}

pub(super) fn decode(input: Input) -> Result<Vec<FileLock>> {
    let entries: Vec<FileLockEntry> = input.all(FILE)?;
    let lock = |entry: FileLockEntry| FileLock {
        kind: entry.flag,
        lock_type: entry.r#type,
        owner: NsPid(entry.pid),
        fd: FdNumber(entry.fd),
        start: entry.start,
        len: entry.len,
    };
    Ok(entries.into_iter().map(lock).collect())
}
