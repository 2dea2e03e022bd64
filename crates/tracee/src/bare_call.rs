//! A single system call on an instruction that the tracee has already: before there is a foothold, and
//! after it is gone.

use stasis_sys::{
    Errno,
    ptrace::{self, UserRegs},
    wait::{self, Status, Whom},
};

use crate::error::{Error, Result};

/// Makes a stopped thread execute one call at the `syscall` instruction at `instruction`.
///
/// # Errors
/// [`Error::Kernel`] if the call fails.
///
/// # Effect on the tracee
/// Two stops. It is left in a system-call-exit stop behind the instruction, with all signals blocked.
pub fn bare_call(
    tid: i32,
    template: &UserRegs,
    instruction: u64,
    (name, number): (&'static str, i64),
    arguments: [u64; 6],
) -> Result<u64> {
    let [di, si, dx, r10, r8, r9] = arguments;
    let ax = number.cast_unsigned();
    let none = u64::MAX;
    let regs =
        UserRegs { ax, orig_ax: none, ip: instruction, di, si, dx, r10, r8, r9, ..*template };
    ptrace::set_registers(tid, &regs).map_err(Error::at(tid, "ptrace(SETREGS)"))?;
    // Only now, when the thread is on its way to its own mask.
    ptrace::set_signal_mask(tid, u64::MAX).map_err(Error::at(tid, "ptrace(SETSIGMASK)"))?;
    for _ in ["entry", "exit"] {
        ptrace::cont_to_syscall(tid).map_err(Error::at(tid, "ptrace(SYSCALL)"))?;
        wait_for_syscall_stop(tid)?;
    }
    let regs = ptrace::registers(tid).map_err(Error::at(tid, "ptrace(GETREGS)"))?;
    Errno::check(regs.ax.cast_signed()).map_err(Error::at(tid, name))
}

fn wait_for_syscall_stop(tid: i32) -> Result<()> {
    loop {
        match wait::wait(Whom::Thread(tid)).map_err(Error::at(tid, "wait4"))? {
            (_, Status::Stopped { signal: wait::SYSCALL_STOP, .. }) => return Ok(()),
            (_, Status::Stopped { event: wait::EVENT_STOP, .. }) => {
                ptrace::cont_to_syscall(tid).map_err(Error::at(tid, "ptrace(SYSCALL)"))?;
            }
            (_, Status::Stopped { signal, .. }) => {
                let what = format!("signal {signal} during a single call");
                return Err(Error::Bug { pid: tid, what });
            }
            (_, Status::Ended { .. }) => return Err(Error::Died { pid: tid }),
        }
    }
}
