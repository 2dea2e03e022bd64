//! What belongs to one thread, beside its registers.

use stasis_model::{
    AltStack, InterruptedCall, NsPid, RobustList, Rseq, Scheduling, SeccompMode, SignalMask,
    Thread, Time,
};

use super::{credentials, registers, signals};
use crate::{
    Error, Result,
    error::Place,
    wire::{
        core::{CoreEntry, RseqEntry, ThreadCoreEntry, ThreadSasEntry},
        extension,
    },
};

/// The number of x86-64 in `core_entry.mtype`.
pub(super) const X86_64: u32 = 1;

const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
const STRICT: u32 = 1;
const FILTER: u32 = 2;

/// Encodes a thread as the core that a thread other than the leader has.
pub(super) fn encode(thread: &Thread, seccomp: SeccompMode, cg_set: u32) -> Result<CoreEntry> {
    let mut core = encode_thread_core(thread, seccomp, cg_set)?;
    core.blk_sigset = Some(thread.blocked.0);
    let info = registers::encode(thread.tid, &thread.registers, thread.clear_child_tid)?;
    Ok(CoreEntry {
        mtype: X86_64,
        thread_info: Some(info),
        thread_core: Some(core),
        ..Default::default()
    })
}

/// Decodes the core of a thread. What it does not tell is taken from `defaults`: name and, for the
/// leader, the blocked signals.
pub(super) fn decode(
    place: Place,
    tid: NsPid,
    core: &CoreEntry,
    defaults: (&[u8], Option<SignalMask>),
) -> Result<Thread> {
    if core.mtype != X86_64 {
        let reason = format!("it is of another processor architecture (number {})", core.mtype);
        return Err(Error::unsupported(format!("thread {tid}"), reason));
    }
    let info = place.need(core.thread_info.as_ref(), "thread_info")?;
    let entry = place.need(core.thread_core.as_ref(), "thread_core")?;
    let creds = place.need(entry.creds.as_ref(), "creds")?;
    let (registers, clear_child_tid) = registers::decode(place, tid, info)?;
    Ok(Thread {
        tid,
        name: entry.comm.clone().unwrap_or_else(|| defaults.0.to_vec()),
        registers,
        clear_child_tid,
        blocked: defaults.1.unwrap_or(SignalMask(entry.blk_sigset.unwrap_or(0))),
        pending: signals::decode_queue(place, "signals_p", entry.signals_p.as_ref())?,
        alt_stack: entry.sas.as_ref().map_or_else(AltStack::default, decode_alt_stack),
        robust_list: RobustList { head: entry.futex_rla, len: entry.futex_rla_len },
        rseq: entry.rseq_entry.as_ref().map(decode_rseq),
        scheduling: decode_scheduling(entry),
        parent_death_signal: decode_signal(place, entry.pdeath_sig)?,
        credentials: credentials::decode(place, creds)?,
        seccomp: decode_seccomp(place, entry.seccomp_mode, entry.seccomp_filter)?,
        interrupted: decode_interrupted(place, entry.interrupted_call.as_ref())?,
    })
}

fn encode_thread_core(
    thread: &Thread,
    seccomp: SeccompMode,
    cg_set: u32,
) -> Result<ThreadCoreEntry> {
    let (seccomp_mode, seccomp_filter) = encode_seccomp(thread.tid, seccomp)?;
    Ok(ThreadCoreEntry {
        futex_rla: thread.robust_list.head,
        futex_rla_len: thread.robust_list.len,
        sched_nice: Some(thread.scheduling.nice),
        sched_policy: Some(thread.scheduling.policy),
        sched_prio: is_real_time(thread.scheduling.policy).then_some(thread.scheduling.priority),
        sas: Some(ThreadSasEntry {
            ss_sp: thread.alt_stack.base,
            ss_size: thread.alt_stack.size,
            ss_flags: thread.alt_stack.flags,
        }),
        pdeath_sig: thread.parent_death_signal.map(i32::cast_unsigned),
        signals_p: Some(signals::encode_queue(&thread.pending)),
        creds: Some(credentials::encode(&thread.credentials)),
        seccomp_mode,
        seccomp_filter,
        comm: Some(thread.name.clone()),
        rseq_entry: thread.rseq.as_ref().map(encode_rseq),
        cg_set: Some(cg_set),
        interrupted_call: thread.interrupted.as_ref().map(encode_interrupted),
        io_priority: thread.scheduling.io_priority,
        processors: thread.scheduling.processors.clone().unwrap_or_default(),
        timer_slack_ns: thread.scheduling.timer_slack_ns,
        blk_sigset: None,
        blk_sigset_extended: None,
    })
}

/// Only these policies have priorities; others must not even mention one.
fn is_real_time(policy: u32) -> bool {
    matches!(policy & !SCHED_RESET_ON_FORK, SCHED_FIFO | SCHED_RR)
}

fn decode_scheduling(entry: &ThreadCoreEntry) -> Scheduling {
    Scheduling {
        nice: entry.sched_nice.unwrap_or(0),
        policy: entry.sched_policy.unwrap_or(0),
        priority: entry.sched_prio.unwrap_or(0),
        io_priority: entry.io_priority,
        processors: (!entry.processors.is_empty()).then(|| entry.processors.clone()),
        timer_slack_ns: entry.timer_slack_ns,
    }
}

fn decode_alt_stack(sas: &ThreadSasEntry) -> AltStack {
    AltStack { base: sas.ss_sp, size: sas.ss_size, flags: sas.ss_flags }
}

fn decode_signal(place: Place, signal: Option<u32>) -> Result<Option<i32>> {
    match signal {
        None | Some(0) => Ok(None),
        Some(number @ 1..=64) => Ok(Some(number.cast_signed())),
        Some(other) => Err(place.field("pdeath_sig", format!("{other} is not a signal"))),
    }
}

fn encode_seccomp(tid: NsPid, seccomp: SeccompMode) -> Result<(Option<u32>, Option<u32>)> {
    match seccomp {
        SeccompMode::Disabled => Ok((None, None)),
        SeccompMode::Strict => Ok((Some(STRICT), None)),
        SeccompMode::Filter { oldest } => {
            let index = u32::try_from(oldest).map_err(|_| {
                Error::unwritable(format!("thread {tid}"), "there are too many seccomp filters")
            })?;
            Ok((Some(FILTER), Some(index)))
        }
    }
}

/// Decodes a mode and the index that goes with it.
pub(super) fn decode_seccomp(
    place: Place,
    mode: Option<u32>,
    filter: Option<u32>,
) -> Result<SeccompMode> {
    match mode.unwrap_or(0) {
        0 => Ok(SeccompMode::Disabled),
        STRICT => Ok(SeccompMode::Strict),
        FILTER => {
            let oldest = place.need(filter, "seccomp_filter")? as usize;
            Ok(SeccompMode::Filter { oldest })
        }
        other => Err(place.field("seccomp_mode", format!("{other} is not known"))),
    }
}

fn encode_rseq(rseq: &Rseq) -> RseqEntry {
    RseqEntry {
        rseq_abi_pointer: rseq.address,
        rseq_abi_size: rseq.size,
        signature: rseq.signature,
        rseq_cs_pointer: rseq.critical_section,
    }
}

fn decode_rseq(entry: &RseqEntry) -> Rseq {
    Rseq {
        address: entry.rseq_abi_pointer,
        size: entry.rseq_abi_size,
        signature: entry.signature,
        critical_section: entry.rseq_cs_pointer,
    }
}

fn encode_interrupted(call: &InterruptedCall) -> extension::InterruptedCall {
    extension::InterruptedCall {
        number: call.number,
        arguments: call.arguments.to_vec(),
        remaining_ns: call.remaining.map(Time::as_nanoseconds),
    }
}

fn decode_interrupted(
    place: Place,
    entry: Option<&extension::InterruptedCall>,
) -> Result<Option<InterruptedCall>> {
    let Some(entry) = entry else { return Ok(None) };
    let arguments = entry.arguments.as_slice().try_into();
    let arguments =
        arguments.map_err(|_| place.field("interrupted_call", "does not have six arguments"))?;
    Ok(Some(InterruptedCall {
        number: entry.number,
        arguments,
        remaining: entry.remaining_ns.map(Time::from_nanoseconds),
    }))
}
