//! What belongs to a single thread: registers, signal mask, alternate stack, robust list, name,
//! scheduling, credentials, filters.

use std::collections::HashMap;

use stasis_model::{
    AltStack, Credentials, InterruptedCall, Live, NsPid, PendingSignal, Registers, RobustList,
    Rseq, Scheduling, SeccompMode, SignalMask, Subject, Thread, Tree,
};
use stasis_proctext::status::Status;
use stasis_sys::{
    memory::RemoteRange,
    ptrace::{Queue, UserRegs},
};
use stasis_tracee::{
    Batch, Blank, Call, Data, Outcome, Patient, PatientThread, Piece, Sleepers, Slept,
};

use crate::{
    credentials,
    error::{Error, Result},
    gathering::Gathering,
    interrupted_call::{self, TIMESPEC},
    registers, rseq, scheduling, seccomp, signal,
};

const SIGALTSTACK: i64 = 131;
const PRCTL: i64 = 157;
const SET_TID_ADDRESS: i64 = 218;
const SET_ROBUST_LIST: i64 = 273;
const PR_SET_PDEATHSIG: i32 = 1;
const PR_GET_PDEATHSIG: i32 = 2;
const PR_SET_NAME: i32 = 15;
const PR_GET_SECUREBITS: i32 = 27;
const PR_GET_TIMERSLACK: i32 = 30;
const PR_GET_TID_ADDRESS: i32 = 40;
const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;

/// The questions that only the thread itself can answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    alt_stack: Data,
    tid_address: Data,
    death_signal: Data,
    securebits: Call,
    timer_slack: Call,
}

pub fn ask(batch: &mut Batch) -> Asked {
    let alt_stack = batch.space(24);
    batch.call("sigaltstack", SIGALTSTACK, [0.into(), alt_stack.into()]);
    let tid_address = batch.space(8);
    batch.call("prctl", PRCTL, [PR_GET_TID_ADDRESS.into(), tid_address.into()]);
    let death_signal = batch.space(8);
    batch.call("prctl", PRCTL, [PR_GET_PDEATHSIG.into(), death_signal.into()]);
    let securebits = batch.call("prctl", PRCTL, [PR_GET_SECUREBITS.into()]);
    let timer_slack = batch.try_call("prctl", PRCTL, [PR_GET_TIMERSLACK.into()]);
    Asked { alt_stack, tid_address, death_signal, securebits, timer_slack }
}

/// How things stood for all threads of a process when it was stopped.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Signals that wait for the process as a whole.
    pub pending: &'a [PendingSignal],
    pub sleepers: &'a Sleepers,
    /// `CLOCK_MONOTONIC`
    pub stopped_at_ns: u64,
}

/// What is seen of a stopped thread from outside, before it is asked anything.
#[derive(Debug)]
pub struct Seen {
    subject: Subject,
    own_tid: i32,
    status: Status,
    registers: Registers,
    blocked: SignalMask,
    pending: Vec<PendingSignal>,
    robust_list: RobustList,
    rseq: Option<Rseq>,
    scheduling: Scheduling,
    seccomp: SeccompMode,
    interrupted: Option<InterruptedCall>,
}

/// Looks at all threads of a patient, the leader first.
///
/// # Effect on the tracee
/// The registers with which threads run on are changed where a stop alone would make a call fail. A note is left
/// in the dead memory below the stacks of those that sleep.
pub fn look_at_all(
    patient: &mut Patient,
    moment: &Moment<'_>,
    gathering: &mut Gathering,
) -> Result<Vec<Seen>> {
    let sequences = rseq::look_at_all(patient)?;
    let remainders = remainders(patient);
    let (mut seen, mut notes) = (Vec::with_capacity(sequences.len()), Vec::new());
    for (index, sequence) in sequences.iter().enumerate() {
        let known = (sequence.as_ref(), remainders.get(&index).copied());
        let (thread, note) = look(patient, index, known, (moment, gathering))?;
        seen.push(thread);
        notes.extend(note);
    }
    patient.try_to_write(&notes);
    Ok(seen)
}

/// What remains of the sleeps of threads, by their index, read by one call; none if one of them cannot be read.
fn remainders(patient: &Patient) -> HashMap<usize, [u8; TIMESPEC]> {
    let threads = patient.threads().iter().enumerate();
    let place = |(index, thread): (usize, &PatientThread)| {
        let address = interrupted_call::place_of_remainder(thread.registers())?;
        Some((index, RemoteRange { address, len: TIMESPEC }))
    };
    let (indices, places): (Vec<usize>, Vec<RemoteRange>) = threads.filter_map(place).unzip();
    let bytes = patient.read_ranges(&places).unwrap_or_default();
    let (timespecs, _) = bytes.as_chunks();
    indices.into_iter().zip(timespecs.iter().copied()).collect()
}

fn look(
    patient: &mut Patient,
    index: usize,
    (sequence, remainder): (Option<&rseq::Looked>, Option<[u8; TIMESPEC]>),
    (moment, gathering): (&Moment<'_>, &mut Gathering),
) -> Result<(Seen, Option<Piece>)> {
    let thread = &patient.threads()[index];
    let (tid, own_tid, status) = (thread.tid(), thread.own_tid(), thread.status().clone());
    let (blocked, cs) = (SignalMask(thread.signal_mask()), thread.registers().cs);
    let name = String::from_utf8_lossy(&status.name).into_owned();
    let subject = Subject::Task { pid: tid, name };
    let what = subject.to_string();
    const COMPATIBILITY_SEGMENT: u64 = 0x23;
    if cs & 0xffff == COMPATIBILITY_SEGMENT {
        gathering.obstacle(subject.clone(), "is a 32-bit program", None);
    }
    let pending = pending_of(tid, &status)?;
    let mut examined = examine_call(patient, index, (&pending, remainder), moment)?;
    let rseq = sequence.map(|looked| looked.freeze(patient, &mut examined.frozen));
    let fpu = registers::freeze_fpu(&what, patient.threads()[index].xsave_area())?;
    let (head, len) =
        stasis_sys::sched::robust_list(tid).map_err(Error::at(&what, "get_robust_list"))?;
    let seen = Seen {
        own_tid,
        registers: Registers { general: examined.frozen, fpu },
        blocked,
        pending,
        robust_list: RobustList { head, len },
        rseq,
        scheduling: scheduling::freeze(tid, gathering)?,
        seccomp: seccomp::freeze(tid, status.seccomp, &subject, gathering)?,
        interrupted: examined.interrupted,
        subject,
        status,
    };
    Ok((seen, examined.note))
}

/// A frozen thread: what was seen of it, and what it answered.
pub fn freeze(seen: Seen, asked: &Asked, outcome: &Outcome) -> Result<Thread> {
    let what = seen.subject.to_string();
    let securebits = outcome.result(asked.securebits).map_err(Error::at(&what, "prctl"))?;
    let death_signal = outcome.half(asked.death_signal, 0).cast_signed();
    let timer_slack_ns = outcome.result(asked.timer_slack).ok();
    Ok(Thread {
        tid: NsPid(seen.own_tid),
        registers: seen.registers,
        clear_child_tid: outcome.word(asked.tid_address, 0),
        blocked: seen.blocked,
        pending: seen.pending,
        alt_stack: AltStack {
            base: outcome.word(asked.alt_stack, 0),
            size: outcome.word(asked.alt_stack, 2),
            flags: outcome.word(asked.alt_stack, 1) as u32,
        },
        robust_list: seen.robust_list,
        rseq: seen.rseq,
        scheduling: Scheduling { timer_slack_ns, ..seen.scheduling },
        parent_death_signal: (death_signal != 0).then_some(death_signal),
        credentials: credentials::freeze(&seen.status, securebits as u32),
        seccomp: seen.seccomp,
        interrupted: seen.interrupted,
        name: seen.status.name,
    })
}

/// Makes up for a stop that was for nothing else: calls that it interrupted go on, and a later checkpoint
/// still finds out how long.
///
/// # Effect on the tracee
/// As [`look_at_all`].
pub fn pass_over_stop(patient: &mut Patient, moment: &Moment<'_>) -> Result<()> {
    let mut notes = Vec::new();
    for index in 0..patient.threads().len() {
        let thread = &patient.threads()[index];
        let pending = pending_of(thread.tid(), thread.status())?;
        notes.extend(examine_call(patient, index, (&pending, None), moment)?.note);
    }
    patient.try_to_write(&notes);
    Ok(())
}

fn pending_of(tid: i32, status: &Status) -> Result<Vec<PendingSignal>> {
    match status.pending {
        0 => Ok(Vec::new()),
        _ => signal::freeze_pending(tid, Queue::Thread),
    }
}

/// Looks at the call that a thread was stopped in, and sets the registers with which it runs on.
fn examine_call(
    patient: &mut Patient,
    index: usize,
    (pending, remainder): (&[PendingSignal], Option<[u8; TIMESPEC]>),
    moment: &Moment<'_>,
) -> Result<interrupted_call::Examined> {
    let thread = &patient.threads()[index];
    let (tid, mask, regs) = (thread.tid(), SignalMask(thread.signal_mask()), *thread.registers());
    let unblocked = |pending: &PendingSignal| !mask.contains(pending.signal());
    let signal_waits = pending.iter().chain(moment.pending).any(unblocked);
    let Moment { sleepers, stopped_at_ns, .. } = *moment;
    let circumstances =
        interrupted_call::Circumstances { tid, signal_waits, sleepers, stopped_at_ns, remainder };
    let examined = interrupted_call::freeze(patient, &regs, &circumstances)?;
    patient.thread_mut(index).set_registers(examined.runs_on);
    Ok(examined)
}

/// Adds what a thread sets for itself before its credentials.
pub fn thaw(thread: &Thread, batch: &mut Batch) {
    let stack = &thread.alt_stack;
    let flags = stack.flags & !SS_ONSTACK;
    if flags & SS_DISABLE == 0 && stack.size != 0 {
        let new = batch.words(&[stack.base, u64::from(flags), stack.size]);
        batch.call("sigaltstack", SIGALTSTACK, [new.into(), 0.into()]);
    }
    if thread.robust_list.head != 0 {
        let RobustList { head, len } = thread.robust_list;
        batch.call("set_robust_list", SET_ROBUST_LIST, [head.into(), len.into()]);
    }
    batch.call("set_tid_address", SET_TID_ADDRESS, [thread.clear_child_tid.into()]);
    if let Some(registered) = &thread.rseq {
        rseq::thaw(registered, batch);
    }
    scheduling::thaw_own(&thread.scheduling, batch);
    let name = batch.text(&thread.name[..thread.name.len().min(15)]);
    batch.call("prctl(PR_SET_NAME)", PRCTL, [PR_SET_NAME.into(), name.into()]);
}

/// Who installs the filters of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    Own,
    /// The leader, for all threads.
    OfAll,
    ByLeader,
}

/// Adds filters and credentials, the last things that a thread does for itself.
pub fn thaw_rights(
    tree: &Tree,
    thread: &Thread,
    filters: Filters,
    inherited: &Credentials,
    batch: &mut Batch,
) {
    match filters {
        Filters::ByLeader => {}
        Filters::OfAll => seccomp::thaw(tree, thread.seccomp, true, batch),
        Filters::Own => seccomp::thaw(tree, thread.seccomp, false, batch),
    }
    credentials::thaw(&thread.credentials, inherited, batch);
    // Changing the user id takes it away.
    if let Some(signal) = thread.parent_death_signal {
        let set = [PR_SET_PDEATHSIG.into(), signal.into()];
        batch.call("prctl(PR_SET_PDEATHSIG)", PRCTL, set);
    }
}

/// Adds the call in which a thread slept, the last of its batch; `None` if it did not.
pub fn thaw_sleep(thread: &Thread, batch: &mut Batch) -> Option<Call> {
    interrupted_call::sleep_on(thread.interrupted.as_ref()?, batch)
}

/// Whether there are several threads and all have the same chain, which the leader then installs for all.
pub fn share_filters(live: &Live) -> bool {
    let (leader, others) = live.threads.split_first().expect("every process has a leader");
    // The strict mode can be chosen for oneself alone.
    leader.seccomp != SeccompMode::Strict
        && !others.is_empty()
        && others.iter().all(|thread| thread.seccomp == leader.seccomp)
}

/// Bytes that a thread other than the leader needs for its own batch.
pub fn len_bytes(tree: &Tree, thread: &Thread, share_filters: bool) -> usize {
    let filters = match (share_filters, thread.seccomp) {
        (true, _) | (_, SeccompMode::Disabled) => 0,
        (false, mode) => seccomp::len_bytes(tree, mode),
    };
    let groups = thread.credentials.groups.as_ref().map_or(0, |groups| groups.len() * 4);
    6000 + filters + groups + thread.pending.len() * 256
}

/// Sets the extended registers of all threads, with `template` as the XSAVE area of a fresh one, and returns the
/// general ones with which they go on.
///
/// # Effect on the tracee
/// Its memory must be whole: threads that slept go to sleep again, and their calls may look at it.
pub fn thaw_registers(
    blank: &mut Blank,
    threads: &[Thread],
    template: &[u8],
) -> Result<Vec<UserRegs>> {
    let mut sleeps = Vec::new();
    for (index, thread) in threads.iter().enumerate() {
        let what = format!("task {}", thread.tid);
        let area = registers::thaw_fpu(&what, &thread.registers.fpu, template)?;
        blank.set_extended_state(index, &area)?;
        // Most went to sleep when they were born.
        let call = thread.interrupted.as_ref().filter(|_| slept(blank, index).is_none());
        sleeps.extend(call.and_then(|call| interrupted_call::sleep_of(index, call)));
    }
    let entered = blank.enter_sleeps(&sleeps)?;
    let mut entered: HashMap<usize, Slept> =
        sleeps.iter().map(|sleep| sleep.thread).zip(entered).collect();
    let (mut regs, mut notes) = (Vec::with_capacity(threads.len()), Vec::new());
    for (index, thread) in threads.iter().enumerate() {
        let general = &thread.registers.general;
        let slept = entered.remove(&index).or_else(|| slept(blank, index));
        let (goes_on, note) = match thread.interrupted.as_ref().zip(slept) {
            Some((call, slept)) => interrupted_call::thaw(call, general, slept),
            None => (registers::from_model(general), None),
        };
        regs.push(goes_on);
        notes.extend(note);
    }
    blank.try_to_write(&notes);
    Ok(regs)
}

fn slept(blank: &Blank, index: usize) -> Option<Slept> {
    blank.threads()[index].slept()
}
