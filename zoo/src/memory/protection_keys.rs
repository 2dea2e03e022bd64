//! Protection keys of mappings, where the processor has them.

use std::fs;

use anyhow::{Context, ensure};

use crate::prelude::*;

pub const GOAL: &str = "protection keys are those of before, allocated and in use";
pub const KIND: Kind = Kind::Survives;

pub fn run(stage: &Stage) -> Verdict {
    let Ok(first) = raw::syscall(libc::SYS_pkey_alloc, &[0, 0]) else {
        return stage.pause().map(drop);
    };
    // One for memory that can only be executed, which the kernel gives a key of its own, and one to spare.
    let of_kernel = raw::syscall(libc::SYS_pkey_alloc, &[0, 0])?;
    let freed = raw::syscall(libc::SYS_pkey_alloc, &[0, 0])?;
    let key = raw::syscall(libc::SYS_pkey_alloc, &[0, 0])?;
    raw::syscall(libc::SYS_pkey_free, &[of_kernel])?;
    raw::syscall(libc::SYS_pkey_free, &[freed])?;
    let memory = raw::Mapping::private(2 * raw::PAGE)?;
    memory.fill(0, memory.len, 3);
    let protect = [memory.addr, raw::PAGE, raw::READ_WRITE as usize, key];
    raw::syscall(libc::SYS_pkey_mprotect, &protect)?;
    let only_executed = raw::Mapping::private(raw::PAGE)?;
    only_executed.fill(0, raw::PAGE, 5);
    only_executed.protect(0, raw::PAGE, libc::PROT_EXEC)?;
    stage.pause()?;
    memory.check(0, memory.len, 3)?;
    ensure!(key_of(memory.addr)? == key, "the memory has key {}", key_of(memory.addr)?);
    only_executed.protect(0, raw::PAGE, raw::READ_WRITE)?;
    only_executed.check(0, raw::PAGE, 5)?;
    let next = raw::syscall(libc::SYS_pkey_alloc, &[0, 0])?;
    ensure!(next == freed, "the next key is {next}, {freed} was free");
    for key in [first, key] {
        raw::syscall(libc::SYS_pkey_free, &[key]).context("the key is not allocated any more")?;
    }
    Ok(())
}

/// The key of the mapping that starts at an address (proc_pid_smaps(5)).
fn key_of(addr: usize) -> anyhow::Result<usize> {
    let text = fs::read_to_string("/proc/self/smaps")?;
    let start = format!("{addr:x}-");
    let mut own = text.lines().skip_while(|line| !line.starts_with(&start));
    let key = own.find_map(|line| line.strip_prefix("ProtectionKey:"));
    Ok(key.context("the mapping has no key")?.trim().parse()?)
}
