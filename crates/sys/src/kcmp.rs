//! kcmp(2): do two processes share a kernel object?

use std::cmp::Ordering;

use crate::errno::{Result, cvt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open file descriptions; the indices are descriptor numbers.
    File = 0,
    Memory = 1,
    DescriptorTable = 2,
    FsContext = 3,
    SignalHandlers = 4,
    SystemVSemaphoreUndo = 6,
}

/// An entry of an epoll set: the set's descriptor, the number that is watched, and which of the entries
/// under this number, as fdinfo lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EpollSlot {
    pub set: u32,
    pub number: u32,
    pub index: u32,
}

/// Whether descriptor `fd` of the first process is what an epoll set of the second one watches.
pub fn is_watched((holder, fd): (i32, u32), (owner, slot): (i32, EpollSlot)) -> Result<bool> {
    const KCMP_EPOLL_TFD: i32 = 7;
    // SAFETY: the kernel reads one `struct kcmp_epoll_slot` of three 32-bit numbers.
    let answer = cvt(unsafe {
        libc::syscall(libc::SYS_kcmp, holder, owner, KCMP_EPOLL_TFD, u64::from(fd), &raw const slot)
    })?;
    Ok(answer == 0)
}

/// Compares two kernel objects; `Equal` if they are one, else an order that holds until a reboot.
///
/// # Errors
/// `EPERM` without ptrace access to both, `EBADF` for a descriptor that is not open.
pub fn compare(pids: (i32, i32), kind: Kind, indices: (u64, u64)) -> Result<Ordering> {
    // SAFETY: kcmp takes numbers only.
    let answer = cvt(unsafe {
        libc::syscall(libc::SYS_kcmp, pids.0, pids.1, kind as i32, indices.0, indices.1)
    })?;
    Ok(match answer {
        0 => Ordering::Equal,
        1 => Ordering::Less,
        _ => Ordering::Greater,
    })
}
