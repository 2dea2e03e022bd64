//! userfaultfd(2) in its asynchronous write-protect mode: the kernel itself lets the writer go on and
//! notes that the page was written (ioctl_userfaultfd(2), the kernel's userfaultfd document).
//!
//! A descriptor belongs to the memory of the process that made it, also in another process's hands.

use std::{
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::errno::{Result, cvt};

const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
/// `_IOWR(0xAA, 0x3F, struct uffdio_api)`
const UFFDIO_API: u64 = 0xc018_aa3f;
/// `_IOWR(0xAA, 0x00, struct uffdio_register)`
const UFFDIO_REGISTER: u64 = 0xc020_aa00;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// Makes a new descriptor one that only notes writes (`UFFD_FEATURE_WP_ASYNC`).
///
/// # Errors
/// `EINVAL` before Linux 6.7, or if it was set up before.
pub fn only_note_writes(userfaultfd: BorrowedFd<'_>) -> Result<()> {
    let features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
    let mut api = Api { api: UFFD_API, features, ioctls: 0 };
    // SAFETY: the structure is the kernel's and lives across the call.
    cvt(i64::from(unsafe { libc::ioctl(userfaultfd.as_raw_fd(), UFFDIO_API, &raw mut api) }))
        .map(drop)
}

/// Registers the mappings of a range for write-protection; those that are registered already stay so.
///
/// # Errors
/// `EBUSY` if another descriptor has one of them, `ESRCH` if the memory is gone, `EINVAL` for memory
/// that cannot be registered, or none.
///
/// # Effect on the tracee
/// None that it sees: nothing is protected yet. It need not be stopped.
pub fn register(userfaultfd: BorrowedFd<'_>, range: &Range<u64>) -> Result<()> {
    let mut register = Register {
        start: range.start,
        len: range.end.saturating_sub(range.start),
        mode: UFFDIO_REGISTER_MODE_WP,
        ioctls: 0,
    };
    // SAFETY: the structure is the kernel's and lives across the call; addresses are the tracee's.
    cvt(i64::from(unsafe {
        libc::ioctl(userfaultfd.as_raw_fd(), UFFDIO_REGISTER, &raw mut register)
    }))
    .map(drop)
}
