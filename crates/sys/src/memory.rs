//! Memory of other processes: process_vm_readv(2), process_vm_writev(2).

use crate::errno::{Errno, Result, cvt};

/// A range of another process's memory; an address, never dereferenced here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteRange {
    pub address: u64,
    pub len: usize,
}

/// Most ranges that one call takes (`IOV_MAX`).
pub const MAX_RANGES: usize = 1024;

/// Reads the ranges one after the other into `buffer`, whose length is that of all ranges.
///
/// Returns the bytes read, which are fewer if a page cannot be read.
///
/// # Errors
/// `EFAULT` if the first page cannot be read, `ESRCH` if the process is gone.
pub fn read(pid: i32, ranges: &[RemoteRange], buffer: &mut [u8]) -> Result<usize> {
    assert!(ranges.len() <= MAX_RANGES, "more ranges than the kernel takes");
    let remote: Vec<libc::iovec> = ranges.iter().map(iovec).collect();
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `local` describes `buffer`, which lives across the call; the kernel writes at most
    // `iov_len` bytes. The remote side is integers, never dereferenced.
    let count = unsafe {
        libc::process_vm_readv(pid, &raw const local, 1, remote.as_ptr(), remote.len() as u64, 0)
    };
    count_of(count)
}

/// Writes `data` to the ranges one after the other.
///
/// # Errors
/// As [`read`]; `EFAULT` also for pages that are not writable.
pub fn write(pid: i32, ranges: &[RemoteRange], data: &[u8]) -> Result<usize> {
    assert!(ranges.len() <= MAX_RANGES, "more ranges than the kernel takes");
    let remote: Vec<libc::iovec> = ranges.iter().map(iovec).collect();
    let local = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: `local` describes `data`, from which the kernel only reads. The remote side is
    // integers, never dereferenced.
    let count = unsafe {
        libc::process_vm_writev(pid, &raw const local, 1, remote.as_ptr(), remote.len() as u64, 0)
    };
    count_of(count)
}

fn iovec(range: &RemoteRange) -> libc::iovec {
    libc::iovec { iov_base: range.address as *mut libc::c_void, iov_len: range.len }
}

fn count_of(count: isize) -> Result<usize> {
    usize::try_from(cvt(count as libc::c_long)?).map_err(|_| Errno::INVAL)
}
