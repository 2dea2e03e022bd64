//! A descriptor of an eBPF map.

use crate::prelude::*;

pub const GOAL: &str = "eBPF maps survive or are refused by name";
pub const KIND: Kind = Kind::KeptOrRefused("bpf");

pub fn run(stage: &Stage) -> Verdict {
    // BPF_MAP_CREATE of an array with one entry of 8 bytes (bpf(2)).
    let attributes = [2_u32, 4, 8, 1, 0, 0, 0, 0];
    let fd = raw::syscall(libc::SYS_bpf, &[0, raw::at(&attributes), 32])?;
    let (key, value) = (0_u32, 0x1122_3344_u64);
    let update = [fd as u64, raw::at(&key) as u64, raw::at(&value) as u64, 0];
    raw::syscall(libc::SYS_bpf, &[2, raw::at(&update), 32])?;
    stage.pause()?;
    let mut found = 0_u64;
    let look_up = [fd as u64, raw::at(&key) as u64, raw::into(&mut found) as u64, 0];
    raw::syscall(libc::SYS_bpf, &[1, raw::at(&look_up), 32]).context("BPF_MAP_LOOKUP_ELEM")?;
    ensure!(found == value, "{found:#x}");
    Ok(())
}
