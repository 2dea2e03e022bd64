//! Two sets of semaphores: one that was operated on, one that never was, which programs can see.

use crate::prelude::*;

pub const GOAL: &str = "System V semaphores keep their values, and whether they were ever used";
pub const KIND: Kind = Kind::Survives;

pub fn new(key: usize, count: usize) -> anyhow::Result<usize> {
    let flags = (libc::IPC_CREAT | libc::IPC_EXCL | 0o604) as usize;
    Ok(raw::syscall(libc::SYS_semget, &[key, count, flags])?)
}

pub fn set_values(set: usize, values: &[u16]) -> Verdict {
    const SETALL: usize = 17;
    raw::syscall(libc::SYS_semctl, &[set, 0, SETALL, raw::at(values)])?;
    Ok(())
}

pub fn values<const N: usize>(set: usize) -> anyhow::Result<[u16; N]> {
    const GETALL: usize = 13;
    let mut values = [0_u16; N];
    raw::syscall(libc::SYS_semctl, &[set, 0, GETALL, raw::into(&mut values)])?;
    Ok(values)
}

/// One operation on one semaphore.
pub fn operate(set: usize, number: u16, by: i16, flags: libc::c_int) -> Verdict {
    let operation = [number, by.cast_unsigned(), flags as u16];
    raw::syscall(libc::SYS_semop, &[set, raw::at(&operation), 1])?;
    Ok(())
}

/// Time of the last operation.
fn operated(set: usize) -> anyhow::Result<u64> {
    let mut status = [0_u64; 13];
    raw::syscall(libc::SYS_semctl, &[set, 0, libc::IPC_STAT as usize, raw::into(&mut status)])?;
    Ok(status[6])
}

pub fn run(stage: &Stage) -> Verdict {
    super::enter_own_namespace()?;
    let (used, fresh) = (new(0x31, 5)?, new(0, 1)?);
    set_values(used, &[0, 7, 32767, 0, 1])?;
    operate(used, 1, -1, 0)?;
    set_values(fresh, &[4])?;
    let before = (super::object("sem", used)?, super::object("sem", fresh)?);
    stage.pause()?;
    super::same("sem", used, &before.0)?;
    super::same("sem", fresh, &before.1)?;
    let now = (values::<5>(used)?, values::<1>(fresh)?);
    ensure!(now == ([0, 6, 32767, 0, 1], [4]), "{now:?}");
    ensure!(operated(used)? != 0 && operated(fresh)? == 0, "who was used is not known any more");
    ensure!(raw::syscall(libc::SYS_semget, &[0x31, 5, 0])? == used, "another one has the key");
    Ok(())
}
