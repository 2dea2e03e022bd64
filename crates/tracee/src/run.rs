//! Running a batch in a stopped thread.

use stasis_sys::{
    memory::{MAX_RANGES, RemoteRange},
    ptrace::{self, UserRegs},
    wait::{self, Status, Whom},
};

use crate::{
    batch::{Batch, Outcome},
    error::{Error, Result},
    foothold::Slot,
    slots::SlotMemory,
    stub::{self, HELD},
};

/// One thread's way of running batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner {
    /// As the supervisor sees it.
    pub tid: i32,
    /// Process and thread id as the thread itself sees them.
    pub own_ids: (i32, i32),
    /// Address of the stub.
    pub code: u64,
    pub slot: Slot,
    /// The signal with which the stub stops.
    pub stop_signal: i32,
    /// Stack pointer for the way back.
    pub frame: u64,
    /// The thread is kept on our processor, and takes back its own on its way back.
    pub held: bool,
}

/// A batch that a thread is to run.
pub(crate) struct Errand<'a> {
    pub runner: &'a Runner,
    /// The thread's registers, but for those that the stub needs.
    pub template: &'a UserRegs,
    pub batch: &'a Batch,
}

/// Runs batches in threads of one process, all at the same time, and waits until all are through; foreign
/// signals that came meanwhile are kept in `late`.
pub(crate) fn run_all(
    errands: &[Errand<'_>],
    slots: &dyn SlotMemory,
    late: &mut Vec<i32>,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(errands.len());
    for some in errands.chunks(MAX_RANGES) {
        start(some, slots)?;
        outcomes.extend(finish(some, slots, late)?);
    }
    Ok(outcomes)
}

/// Puts the batches into the slots, all at once, and lets the threads start on them.
pub(crate) fn start(errands: &[Errand<'_>], slots: &dyn SlotMemory) -> Result<()> {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(errands.len());
    for Errand { runner, batch, .. } in errands {
        ends.push(batch.encode(runner.tid, runner.slot, &mut bytes)?);
    }
    slots.put(&places(errands), &bytes)?;
    for (Errand { runner, template, .. }, records_end) in errands.iter().zip(ends) {
        runner.start(template, records_end)?;
    }
    Ok(())
}

/// Waits until all are through, and takes what came out, all at once.
pub(crate) fn finish(
    errands: &[Errand<'_>],
    slots: &dyn SlotMemory,
    late: &mut Vec<i32>,
) -> Result<Vec<Outcome>> {
    // The last to start is through last as a rule: so we sleep once, not once for each.
    for errand in errands.iter().rev() {
        errand.runner.wait_for_end(late)?;
    }
    let bytes = slots.take(&places(errands))?;
    let mut rest = bytes.as_slice();
    let outcome = |Errand { runner, batch, .. }: &Errand<'_>| {
        let (of_batch, others) = rest.split_at(batch.encoded_len());
        rest = others;
        batch.outcome(runner.tid, of_batch.to_vec())
    };
    Ok(errands.iter().map(outcome).collect())
}

/// Where the batches lie.
fn places(errands: &[Errand<'_>]) -> Vec<RemoteRange> {
    let place = |Errand { runner, batch, .. }: &Errand<'_>| RemoteRange {
        address: runner.slot.address,
        len: batch.encoded_len(),
    };
    errands.iter().map(place).collect()
}

impl Runner {
    fn start(&self, template: &UserRegs, records_end: u64) -> Result<()> {
        let regs = UserRegs {
            ip: self.code,
            bx: self.slot.address,
            bp: records_end,
            r12: i64::from(self.own_ids.0).cast_unsigned(),
            r13: i64::from(self.own_ids.1).cast_unsigned(),
            r14: u64::from(self.stop_signal.cast_unsigned()) | if self.held { HELD } else { 0 },
            r15: self.frame,
            ax: 0,
            orig_ax: u64::MAX,
            flags: template.flags & !0x400, // direction flag clear
            ..*template
        };
        ptrace::set_registers(self.tid, &regs).map_err(Error::at(self.tid, "ptrace(SETREGS)"))?;
        // No signal but the stub's own may come in between. A patient's own mask is in its frame.
        let all_but = !(1u64 << (self.stop_signal - 1));
        ptrace::set_signal_mask(self.tid, all_but)
            .map_err(Error::at(self.tid, "ptrace(SETSIGMASK)"))?;
        ptrace::cont(self.tid, 0).map_err(Error::at(self.tid, "ptrace(CONT)"))
    }

    fn wait_for_end(&self, late: &mut Vec<i32>) -> Result<()> {
        loop {
            let status =
                wait::wait(Whom::Thread(self.tid)).map_err(Error::at(self.tid, "wait4"))?;
            match status.1 {
                Status::Ended { .. } => return Err(Error::Died { pid: self.tid }),
                Status::Stopped { event: wait::EVENT_STOP, .. } => {}
                Status::Stopped { signal, .. } => {
                    let regs = ptrace::registers(self.tid)
                        .map_err(Error::at(self.tid, "ptrace(GETREGS)"))?;
                    if signal == self.stop_signal && regs.ip == self.code + stub::AFTER_STOP {
                        return Ok(());
                    }
                    if matches!(signal, libc_signals::SEGV | libc_signals::ILL | libc_signals::BUS)
                    {
                        let what = format!("signal {signal} at {:x} in the stub", regs.ip);
                        return Err(Error::Bug { pid: self.tid, what });
                    }
                    late.push(signal);
                }
            }
            ptrace::cont(self.tid, 0).map_err(Error::at(self.tid, "ptrace(CONT)"))?;
        }
    }
}

pub(crate) mod libc_signals {
    pub const ILL: i32 = 4;
    pub const BUS: i32 = 7;
    pub const SEGV: i32 = 11;
    pub const CHLD: i32 = 17;
    pub const URG: i32 = 23;
    pub const WINCH: i32 = 28;
}
