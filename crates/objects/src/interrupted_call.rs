//! System calls that a stop interrupted.
//!
//! A thread stopped inside one shows an internal error number in its registers. Most calls are executed
//! again with the same arguments. Sleeps with a time-out keep their deadline in kernel data that does not
//! survive: for them it is found out how much of the time remained, and after a restore the thread is put
//! to sleep for that long, stopped again, and so has restart data as before.

use stasis_model::{GeneralRegisters, InterruptedCall, Time};
use stasis_sys::ptrace::UserRegs;
use stasis_tracee::{Blank, Patient};

use crate::error::Result;

const EINTR: i64 = -4;
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;

const POLL: u64 = 7;
const NANOSLEEP: u64 = 35;
const FUTEX: u64 = 202;
const RESTART_SYSCALL: u64 = 219;
const CLOCK_NANOSLEEP: u64 = 230;
const EPOLL_WAIT: u64 = 232;
const EPOLL_PWAIT: u64 = 281;

/// Calls that return `EINTR` when a thread is stopped, though no signal was delivered (signal(7),
/// "Interruption of system calls and library functions by stop signals").
const INTERRUPTED_BY_STOPS: [u64; 14] = [
    0,   // read, with a receive time-out
    1,   // write, with a send time-out
    42,  // connect, with a send time-out
    43,  // accept, with a receive time-out
    45,  // recvfrom
    47,  // recvmsg
    65,  // semop
    128, // rt_sigtimedwait
    208, // io_getevents
    220, // semtimedop
    EPOLL_WAIT,
    EPOLL_PWAIT,
    288, // accept4
    441, // epoll_pwait2
];

/// How the thread goes on: its registers after a checkpoint, and what the checkpoint notes.
#[derive(Debug)]
pub struct Examined {
    /// For the checkpoint, adjusted as CRIU does it.
    pub frozen: GeneralRegisters,
    pub interrupted: Option<InterruptedCall>,
    /// For the thread itself if it runs on.
    pub runs_on: UserRegs,
}

/// Looks at the registers of a stopped thread.
///
/// `signal_waits`: a signal will be delivered as soon as it goes on. `asleep_ns`: how long it had been
/// asleep, if known.
pub fn freeze(
    patient: &Patient,
    regs: &UserRegs,
    signal_waits: bool,
    asleep_ns: Option<u64>,
) -> Result<Examined> {
    let plain = |regs: &UserRegs| Examined {
        frozen: crate::registers::to_model(regs),
        interrupted: None,
        runs_on: *regs,
    };
    if regs.orig_ax.cast_signed() < 0 {
        return Ok(plain(regs));
    }
    match regs.ax.cast_signed() {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => {
            let mut examined = plain(regs);
            step_back(&mut examined.frozen);
            Ok(examined)
        }
        ERESTART_RESTARTBLOCK => {
            let mut examined = plain(regs);
            examined.interrupted = Some(examine_sleep(patient, regs, asleep_ns));
            examined.frozen.ax = EINTR.cast_unsigned();
            Ok(examined)
        }
        EINTR if !signal_waits && INTERRUPTED_BY_STOPS.contains(&regs.orig_ax) => {
            let mut again = *regs;
            again.ax = ERESTARTNOHAND.cast_unsigned();
            shorten_epoll(&mut again, asleep_ns);
            let mut examined = plain(&again);
            step_back(&mut examined.frozen);
            Ok(examined)
        }
        _ => Ok(plain(regs)),
    }
}

/// Back onto the two bytes of the `syscall` instruction.
fn step_back(frozen: &mut GeneralRegisters) {
    frozen.ax = frozen.orig_ax;
    frozen.ip = frozen.ip.wrapping_sub(2);
}

/// The time-out of epoll_wait(2) is a register of its own that programs do not look at again.
fn shorten_epoll(regs: &mut UserRegs, asleep_ns: Option<u64>) {
    let timeout = (regs.r10 as i32).max(-1);
    if let (EPOLL_WAIT | EPOLL_PWAIT, 1.., Some(asleep)) = (regs.orig_ax, timeout, asleep_ns) {
        let asleep_ms = i64::try_from(asleep / 1_000_000).unwrap_or(i64::MAX);
        let left = i64::from(timeout).saturating_sub(asleep_ms).max(0);
        regs.r10 = left.cast_unsigned();
    }
}

fn examine_sleep(patient: &Patient, regs: &UserRegs, asleep_ns: Option<u64>) -> InterruptedCall {
    let arguments = [regs.di, regs.si, regs.dx, regs.r10, regs.r8, regs.r9];
    let number = regs.orig_ax;
    let left_of = |total: Option<u64>| {
        let left = total?.saturating_sub(asleep_ns?);
        Some(Time::from_nanoseconds(left))
    };
    let remaining = match number {
        // The kernel has written what remains to the place that the program gave for it.
        NANOSLEEP if arguments[1] != 0 => {
            timespec(patient, arguments[1]).map(Time::from_nanoseconds)
        }
        CLOCK_NANOSLEEP if arguments[3] != 0 => {
            timespec(patient, arguments[3]).map(Time::from_nanoseconds)
        }
        NANOSLEEP => left_of(timespec(patient, arguments[0])),
        CLOCK_NANOSLEEP => left_of(timespec(patient, arguments[2])),
        POLL => left_of(u64::from(arguments[2] as u32).checked_mul(1_000_000)),
        FUTEX if arguments[1] & 0x7f == 0 => left_of(timespec(patient, arguments[3])),
        // Others wait until a date, which is among their arguments.
        _ => None,
    };
    InterruptedCall { number, arguments, remaining }
}

/// Nanoseconds of a `struct timespec` in the patient's memory.
fn timespec(patient: &Patient, address: u64) -> Option<u64> {
    let bytes = patient.read_memory(address, 16).ok()?;
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    word(0).checked_mul(1_000_000_000)?.checked_add(word(8))
}

/// Puts thread `index` of a blank back to sleep and returns the registers with which it goes on.
///
/// # Effect on the tracee
/// Its memory must be whole, since the call may look at it.
pub fn thaw(
    blank: &mut Blank,
    index: usize,
    call: &InterruptedCall,
    frozen: &GeneralRegisters,
) -> Result<UserRegs> {
    let mut regs = crate::registers::from_model(frozen);
    let mut arguments = call.arguments;
    if let Some(remaining) = call.remaining {
        shorten(blank, index, call.number, &mut arguments, remaining)?;
    }
    if !matches!(call.number, POLL | NANOSLEEP | FUTEX | CLOCK_NANOSLEEP) {
        return Ok(regs);
    }
    match blank.enter_sleep(index, call.number, arguments)? {
        ERESTART_RESTARTBLOCK => {
            regs.ax = RESTART_SYSCALL;
            regs.ip = regs.ip.wrapping_sub(2);
        }
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => {
            regs.ax = call.number;
            regs.ip = regs.ip.wrapping_sub(2);
        }
        // What it waited for has come: it returns.
        result => regs.ax = result.cast_unsigned(),
    }
    Ok(regs)
}

fn shorten(
    blank: &Blank,
    index: usize,
    number: u64,
    arguments: &mut [u64; 6],
    remaining: Time,
) -> Result<()> {
    let place = match number {
        NANOSLEEP => 0,
        CLOCK_NANOSLEEP => 2,
        FUTEX => 3,
        POLL => {
            let milliseconds = remaining.as_nanoseconds().div_ceil(1_000_000);
            arguments[2] = milliseconds.min(i32::MAX as u64);
            return Ok(());
        }
        _ => return Ok(()),
    };
    let address = blank.slot_address(index);
    let mut timespec = remaining.seconds.to_ne_bytes().to_vec();
    timespec.extend_from_slice(&u64::from(remaining.nanoseconds).to_ne_bytes());
    blank.write_memory(address, &timespec)?;
    arguments[place] = address;
    Ok(())
}
