//! Processes: signals with data, pids.

use crate::errno::{Result, cvt};

/// kill(2).
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: takes numbers.
    cvt(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// tgkill(2).
pub fn kill_thread(pid: i32, tid: i32, signal: i32) -> Result<()> {
    // SAFETY: takes numbers.
    cvt(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// prlimit(2) for another process: soft and hard limit.
pub fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one limit; the old one is not asked for.
    cvt(i64::from(unsafe {
        libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut())
    }))
    .map(drop)
}
