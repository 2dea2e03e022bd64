//! System calls that a stop interrupted.
//!
//! A thread stopped inside one shows an internal error number in its registers. Most calls are executed
//! again with the same arguments. Sleeps with a time-out keep their deadline in kernel data that does not
//! survive: for them it is found out how much of the time remained, and after a restore the thread is put
//! to sleep for that long, stopped again, and so has restart data as before.

use stasis_model::{GeneralRegisters, InterruptedCall, Time};
use stasis_proctext::syscall::Blocked;
use stasis_sys::ptrace::UserRegs;
use stasis_tracee::{Arg, Batch, Call, Patient, Piece, Sleep, Sleepers, Slept, Watch};

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
const TIMER_ABSTIME: u64 = 1;
/// The rest of the operation of futex(2) are flags; 0 is `FUTEX_WAIT`.
const FUTEX_COMMAND: u64 = 0x7f;

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

/// What must be known, before it is stopped, of a thread that is blocked in this call.
pub fn watch(call: &Blocked) -> Watch {
    let arguments = &call.arguments;
    let has_time_out = match call.number {
        RESTART_SYSCALL => return Watch::TimeAndPlace,
        // The kernel writes what remains to the place that the program gave for it.
        NANOSLEEP => arguments[1] == 0,
        CLOCK_NANOSLEEP => arguments[3] == 0 && arguments[1] & TIMER_ABSTIME == 0,
        POLL => (arguments[2] as i32) > 0,
        // Other kinds of waiting have a date.
        FUTEX => arguments[3] != 0 && arguments[1] & FUTEX_COMMAND == 0,
        EPOLL_WAIT | EPOLL_PWAIT => (arguments[3] as i32) > 0,
        _ => false,
    };
    if has_time_out { Watch::Time } else { Watch::Nothing }
}

/// How the thread goes on: its registers after a checkpoint, and what the checkpoint notes.
#[derive(Debug)]
pub struct Examined {
    /// For the checkpoint, adjusted as CRIU does it.
    pub frozen: GeneralRegisters,
    pub interrupted: Option<InterruptedCall>,
    /// For the thread itself if it runs on.
    pub runs_on: UserRegs,
    /// To be left below its stack for the next checkpoint.
    pub note: Option<Piece>,
}

/// What is known of a stopped thread beside its registers.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub tid: i32,
    /// A signal will be delivered as soon as it goes on.
    pub signal_waits: bool,
    pub sleepers: &'a Sleepers,
    /// `CLOCK_MONOTONIC` when the tree was stopped, nanoseconds.
    pub stopped_at_ns: u64,
    /// What the kernel wrote to the place of [`place_of_remainder`], if that was read already.
    pub remainder: Option<[u8; TIMESPEC]>,
}

/// Bytes of a `struct timespec`.
pub const TIMESPEC: usize = 16;

/// Where the kernel wrote how much of a sleep remained when it was stopped, if the program gave a place for it.
pub fn place_of_remainder(regs: &UserRegs) -> Option<u64> {
    let place = match regs.orig_ax {
        NANOSLEEP => regs.si,
        CLOCK_NANOSLEEP => regs.r10,
        _ => 0,
    };
    (regs.ax.cast_signed() == ERESTART_RESTARTBLOCK && place != 0).then_some(place)
}

impl Circumstances<'_> {
    /// How long the thread had been asleep, if known.
    fn asleep_ns(&self) -> Option<u64> {
        self.stopped_at_ns.checked_sub(self.sleepers.asleep_since(self.tid)?)
    }
}

/// Looks at the registers of a stopped thread.
pub fn freeze(
    patient: &Patient,
    regs: &UserRegs,
    circumstances: &Circumstances<'_>,
) -> Result<Examined> {
    let plain = |regs: &UserRegs| Examined {
        frozen: crate::registers::to_model(regs),
        interrupted: None,
        runs_on: *regs,
        note: None,
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
            let call = examine_sleep(patient, regs, circumstances);
            if let Some(remaining) = call.remaining {
                let deadline_ns =
                    circumstances.stopped_at_ns.saturating_add(remaining.as_nanoseconds());
                let note = Note { number: call.number, deadline_ns };
                examined.note = Some(note.piece(regs.sp));
            }
            examined.interrupted = Some(call);
            examined.frozen.ax = EINTR.cast_unsigned();
            Ok(examined)
        }
        EINTR if !circumstances.signal_waits && INTERRUPTED_BY_STOPS.contains(&regs.orig_ax) => {
            let mut again = *regs;
            again.ax = ERESTARTNOHAND.cast_unsigned();
            shorten_epoll(&mut again, circumstances);
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
fn shorten_epoll(regs: &mut UserRegs, circumstances: &Circumstances<'_>) {
    let timeout = (regs.r10 as i32).max(-1);
    if !matches!((regs.orig_ax, timeout), (EPOLL_WAIT | EPOLL_PWAIT, 1..)) {
        return;
    }
    if let Some(asleep) = circumstances.asleep_ns() {
        let asleep_ms = i64::try_from(asleep / 1_000_000).unwrap_or(i64::MAX);
        let left = i64::from(timeout).saturating_sub(asleep_ms).max(0);
        regs.r10 = left.cast_unsigned();
    }
}

fn examine_sleep(
    patient: &Patient,
    regs: &UserRegs,
    circumstances: &Circumstances<'_>,
) -> InterruptedCall {
    let arguments = [regs.di, regs.si, regs.dx, regs.r10, regs.r8, regs.r9];
    if regs.orig_ax != RESTART_SYSCALL {
        let number = regs.orig_ax;
        let remaining = remaining(patient, number, &arguments, circumstances);
        return InterruptedCall { number, arguments, remaining };
    }
    // It was interrupted before, and what it does now is to go on with that call.
    if let Some(note) = Note::find(regs.sp, |address, len| patient.read_memory(address, len).ok()) {
        let left = note.deadline_ns.saturating_sub(circumstances.stopped_at_ns);
        let remaining = Some(Time::from_nanoseconds(left));
        return InterruptedCall { number: note.number, arguments, remaining };
    }
    let slept_in = |part| circumstances.sleepers.slept_in(circumstances.tid, part);
    let number = match () {
        () if slept_in("poll") => POLL,
        () if slept_in("futex") => FUTEX,
        // The first argument of the one is a small number, of the other an address.
        () if slept_in("nanosleep") && arguments[0] < 4096 => CLOCK_NANOSLEEP,
        () if slept_in("nanosleep") => NANOSLEEP,
        () => RESTART_SYSCALL,
    };
    let remaining = remaining(patient, number, &arguments, circumstances);
    InterruptedCall { number, arguments, remaining }
}

fn remaining(
    patient: &Patient,
    number: u64,
    arguments: &[u64; 6],
    circumstances: &Circumstances<'_>,
) -> Option<Time> {
    let left_of = |total: Option<u64>| {
        let left = total?.saturating_sub(circumstances.asleep_ns()?);
        Some(Time::from_nanoseconds(left))
    };
    let written = |place: u64| {
        let nanoseconds = match circumstances.remainder {
            Some(remainder) => nanoseconds(&remainder),
            None => timespec(patient, place),
        };
        nanoseconds.map(Time::from_nanoseconds)
    };
    match number {
        // The kernel has written what remains to the place that the program gave for it.
        NANOSLEEP if arguments[1] != 0 => written(arguments[1]),
        CLOCK_NANOSLEEP if arguments[3] != 0 => written(arguments[3]),
        NANOSLEEP => left_of(timespec(patient, arguments[0])),
        CLOCK_NANOSLEEP => left_of(timespec(patient, arguments[2])),
        // Without a time-out it waits for ever, now as then.
        POLL if (arguments[2] as i32) < 0 => None,
        POLL => left_of(u64::from(arguments[2] as u32).checked_mul(1_000_000)),
        FUTEX if arguments[1] & FUTEX_COMMAND == 0 => left_of(timespec(patient, arguments[3])),
        // Others wait until a date, which is among their arguments.
        _ => None,
    }
}

/// A thread that goes on with an interrupted sleep is in restart_syscall(2) and no longer tells which
/// call it was, nor until when. So a note is left for the next checkpoint, in memory that no program
/// uses: below the red zone of its stack. It is gone as soon as the thread calls anything else.
struct Note {
    number: u64,
    /// `CLOCK_MONOTONIC`
    deadline_ns: u64,
}

impl Note {
    const MAGIC: [u64; 2] = [0x7374_6173_6973_0001, 0x9a6e_51c2_07d4_e8b3];
    const LEN: usize = 40;

    fn place(sp: u64) -> u64 {
        const RED_ZONE: u64 = 128;
        sp.wrapping_sub(RED_ZONE + 64) & !63
    }

    /// What is to be written where. Where the stack has no room for it the next checkpoint knows less.
    fn piece(&self, sp: u64) -> Piece {
        let words = [Self::MAGIC[0], Self::MAGIC[1], sp, self.number, self.deadline_ns];
        (Self::place(sp), words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    fn find(sp: u64, read: impl FnOnce(u64, usize) -> Option<Vec<u8>>) -> Option<Note> {
        let bytes = read(Self::place(sp), Self::LEN)?;
        let word =
            |at: usize| u64::from_ne_bytes(bytes[at * 8..][..8].try_into().expect("eight bytes"));
        let ours = [word(0), word(1), word(2)] == [Self::MAGIC[0], Self::MAGIC[1], sp];
        ours.then(|| Note { number: word(3), deadline_ns: word(4) })
    }
}

/// Nanoseconds of a `struct timespec` in the patient's memory.
fn timespec(patient: &Patient, address: u64) -> Option<u64> {
    nanoseconds(&patient.read_memory(address, TIMESPEC).ok()?)
}

fn nanoseconds(timespec: &[u8]) -> Option<u64> {
    let word =
        |at: usize| u64::from_ne_bytes(timespec[at..at + 8].try_into().expect("eight bytes"));
    word(0).checked_mul(1_000_000_000)?.checked_add(word(8))
}

/// A call that puts a thread back to sleep.
struct Again {
    number: u64,
    arguments: [u64; 6],
    /// The index of the argument that is the address of a time-out, and that.
    timeout: Option<(usize, [u64; 2])>,
}

impl Again {
    /// `None` if the call starts anew anyway.
    fn of(call: &InterruptedCall) -> Option<Self> {
        if !matches!(call.number, POLL | NANOSLEEP | FUTEX | CLOCK_NANOSLEEP) {
            return None;
        }
        let InterruptedCall { number, mut arguments, remaining } = *call;
        let timeout = remaining.and_then(|remaining| shorten(number, &mut arguments, remaining));
        Some(Again { number, arguments, timeout })
    }
}

/// Adds the call that puts the thread back to sleep.
pub fn sleep_on(call: &InterruptedCall, batch: &mut Batch) -> Option<Call> {
    let again = Again::of(call)?;
    let mut arguments = again.arguments.map(Arg::from);
    if let Some((index, timeout)) = again.timeout {
        arguments[index] = batch.words(&timeout).into();
    }
    Some(batch.try_call("sleep", again.number.cast_signed(), arguments))
}

/// The same for a thread that does not enter its sleep by a batch.
pub fn sleep_of(thread: usize, call: &InterruptedCall) -> Option<Sleep> {
    let Again { number, arguments, timeout } = Again::of(call)?;
    Some(Sleep { thread, number, arguments, timeout })
}

/// The registers with which a thread goes on that was put back to sleep, and a note for the next
/// checkpoint to be left below its stack.
pub fn thaw(
    call: &InterruptedCall,
    frozen: &GeneralRegisters,
    slept: Slept,
) -> (UserRegs, Option<Piece>) {
    let mut regs = crate::registers::from_model(frozen);
    let mut piece = None;
    match slept.result {
        ERESTART_RESTARTBLOCK => {
            regs.ax = RESTART_SYSCALL;
            regs.ip = regs.ip.wrapping_sub(2);
            if let Some(remaining) = call.remaining {
                let deadline_ns = slept.since_ns.saturating_add(remaining.as_nanoseconds());
                let note = Note { number: call.number, deadline_ns };
                piece = Some(note.piece(regs.sp));
            }
        }
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => {
            regs.ax = call.number;
            regs.ip = regs.ip.wrapping_sub(2);
        }
        // What it waited for has come: it returns.
        result => regs.ax = result.cast_unsigned(),
    }
    (regs, piece)
}

/// Sets the arguments of a call that sleeps only so long; tells which of them is the address of what time-out.
fn shorten(number: u64, arguments: &mut [u64; 6], remaining: Time) -> Option<(usize, [u64; 2])> {
    let place = match number {
        NANOSLEEP => 0,
        CLOCK_NANOSLEEP => 2,
        FUTEX => 3,
        POLL => {
            let milliseconds = remaining.as_nanoseconds().div_ceil(1_000_000);
            arguments[2] = milliseconds.min(i32::MAX as u64);
            return None;
        }
        _ => return None,
    };
    Some((place, [remaining.seconds, u64::from(remaining.nanoseconds)]))
}
