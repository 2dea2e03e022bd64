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
