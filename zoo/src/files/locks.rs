//! Record locks, whole-file locks and open-file-description locks: a second process cannot take
//! them before and after.

use std::fs;

use crate::prelude::*;

pub const GOAL: &str = "file locks survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("lock");

pub fn run(stage: &Stage) -> Verdict {
    use rustix::fs::{FlockOperation, fcntl_lock, flock};
    let make = |name: &str| -> anyhow::Result<fs::File> {
        let mut options = fs::File::options();
        Ok(options.read(true).write(true).create(true).truncate(false).open(stage.path(name))?)
    };
    let record = make("record")?;
    fcntl_lock(&record, FlockOperation::LockExclusive)?;
    let whole = make("whole")?;
    flock(&whole, FlockOperation::LockExclusive)?;
    let check = || {
        let other = raw::fork(stage, |_| {
            let taken = fcntl_lock(make("record")?, FlockOperation::NonBlockingLockExclusive);
            ensure!(taken.is_err(), "the record lock is gone");
            let taken = flock(make("whole")?, FlockOperation::NonBlockingLockExclusive);
            ensure!(taken.is_err(), "the whole-file lock is gone");
            Ok(())
        })?;
        other.join(stage)
    };
    check()?;
    stage.pause()?;
    check()
}
