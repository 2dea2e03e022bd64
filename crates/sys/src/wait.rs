//! wait4(2) for tracees and children.

use crate::errno::{Errno, Result};

/// What a wait reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Stopped by this signal; `event` is a `PTRACE_EVENT_*` number or 0.
    Stopped { signal: i32, event: i32 },
    /// Ended, with the raw wait status.
    Ended { wait_status: i32 },
}

/// `PTRACE_EVENT_*` numbers that we meet.
pub const EVENT_EXEC: i32 = 4;
pub const EVENT_STOP: i32 = 128;
/// The signal of system-call stops under `SYSCALL_GOOD`.
pub const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// Whom to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Thread(i32),
    Any,
}

/// Waits until a tracee or child changes state.
///
/// # Errors
/// `ECHILD` if there is nobody to wait for.
pub fn wait(whom: Whom) -> Result<(i32, Status)> {
    match wait4(whom, libc::__WALL)? {
        Some(answer) => Ok(answer),
        None => Err(Errno::AGAIN),
    }
}

/// Like [`wait`], but `None` if nothing has happened yet.
pub fn poll(whom: Whom) -> Result<Option<(i32, Status)>> {
    wait4(whom, libc::__WALL | libc::WNOHANG)
}

fn wait4(whom: Whom, flags: i32) -> Result<Option<(i32, Status)>> {
    let target = match whom {
        Whom::Thread(tid) => tid,
        Whom::Any => -1,
    };
    let mut status = 0;
    loop {
        // SAFETY: `status` lives across the call.
        let tid = unsafe { libc::waitpid(target, &raw mut status, flags) };
        match tid {
            -1 if Errno::last() == Errno::INTR => {}
            -1 => return Err(Errno::last()),
            0 => return Ok(None),
            tid => return Ok(Some((tid, decode(status)))),
        }
    }
}

fn decode(status: i32) -> Status {
    if libc::WIFSTOPPED(status) {
        Status::Stopped { signal: libc::WSTOPSIG(status), event: (status >> 16) & 0xffff }
    } else {
        Status::Ended { wait_status: status }
    }
}
