//! Running a batch in a stopped thread.

use stasis_sys::{
    memory::{self, RemoteRange},
    ptrace::{self, UserRegs},
    wait::{self, Status, Whom},
};

use crate::{
    batch::{Batch, Outcome},
    error::{Error, Result},
    foothold::Slot,
    stub,
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
}

impl Runner {
    /// Lets the thread start on a batch.
    pub fn start(&self, template: &UserRegs, batch: &Batch) -> Result<()> {
        let encoded = batch.encode(self.tid, self.slot)?;
        self.write(&encoded.bytes)?;
        let regs = UserRegs {
            ip: self.code,
            bx: self.slot.address,
            bp: encoded.records_end,
            r12: i64::from(self.own_ids.0).cast_unsigned(),
            r13: i64::from(self.own_ids.1).cast_unsigned(),
            r14: i64::from(self.stop_signal).cast_unsigned(),
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

    /// Waits until the thread is through; foreign signals that came meanwhile are kept in `late`.
    pub fn finish(&self, batch: &Batch, late: &mut Vec<i32>) -> Result<Outcome> {
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
                        break;
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
        let mut bytes = vec![0; batch.len_bytes()];
        self.read(&mut bytes)?;
        Ok(batch.outcome(self.tid, bytes))
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let range = RemoteRange { address: self.slot.address, len: bytes.len() };
        let written = memory::write(self.tid, &[range], bytes)
            .map_err(Error::at(self.tid, "process_vm_writev"))?;
        self.whole(written, bytes.len())
    }

    fn read(&self, bytes: &mut [u8]) -> Result<()> {
        let range = RemoteRange { address: self.slot.address, len: bytes.len() };
        let read = memory::read(self.tid, &[range], bytes)
            .map_err(Error::at(self.tid, "process_vm_readv"))?;
        self.whole(read, bytes.len())
    }

    fn whole(&self, done: usize, wanted: usize) -> Result<()> {
        if done == wanted {
            return Ok(());
        }
        Err(Error::Bug { pid: self.tid, what: format!("{done} of {wanted} bytes of the slot") })
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
