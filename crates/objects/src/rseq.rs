//! Restartable sequences (rseq(2)): what a thread registered, and the sequence that it stands in.

use stasis_model::{GeneralRegisters, Rseq};
use stasis_sys::{
    Errno,
    memory::RemoteRange,
    ptrace::{self, RseqConfiguration},
};
use stasis_tracee::{Batch, Patient};

use crate::error::{Error, Result};

const RSEQ: i64 = 334;

/// What a stopped thread has registered.
#[derive(Debug)]
pub struct Looked {
    registered: RseqConfiguration,
    /// Address of the description of its critical section; 0 outside any.
    section: u64,
}

/// Looks at all threads of a process; `None` for one that has nothing registered.
pub fn look_at_all(patient: &Patient) -> Result<Vec<Option<Looked>>> {
    let registered = patient
        .threads()
        .iter()
        .map(|thread| registered(thread.tid()))
        .collect::<Result<Vec<_>>>()?;
    let mut sections = sections(patient, &registered)?.into_iter();
    let mut look = |registered: RseqConfiguration| {
        let section = sections.next().expect("a section for each that is registered");
        Looked { registered, section }
    };
    Ok(registered.into_iter().map(|registered| registered.map(&mut look)).collect())
}

fn registered(tid: i32) -> Result<Option<RseqConfiguration>> {
    match ptrace::rseq_configuration(tid) {
        Ok(registered) => Ok((registered.address != 0).then_some(registered)),
        Err(Errno::IO | Errno::INVAL) => Ok(None),
        Err(errno) => {
            Err(Error::at(format!("task {tid}"), "ptrace(GET_RSEQ_CONFIGURATION)")(errno))
        }
    }
}

/// The pointers to the critical sections, read by one call for as many threads as it takes.
fn sections(patient: &Patient, registered: &[Option<RseqConfiguration>]) -> Result<Vec<u64>> {
    const POINTER: usize = 8;
    let place = |registered: &RseqConfiguration| RemoteRange {
        address: registered.address.wrapping_add(8),
        len: POINTER,
    };
    let places: Vec<RemoteRange> = registered.iter().flatten().map(place).collect();
    let bytes = patient.read_ranges(&places)?;
    let pointers = bytes.chunks_exact(POINTER);
    Ok(pointers.map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))).collect())
}

impl Looked {
    /// A thread stopped inside a critical section goes on at the section's abort handler.
    pub fn freeze(&self, patient: &Patient, frozen: &mut GeneralRegisters) -> Rseq {
        const NO_RESTART_ON_SIGNAL: u32 = 2;
        let mut critical_section = None;
        if self.section != 0
            && let Ok(bytes) = patient.read_memory(self.section, 32)
        {
            let word =
                |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            let (flags, start, len, abort) = ((word(0) >> 32) as u32, word(8), word(16), word(24));
            let inside = frozen.ip.wrapping_sub(start) < len;
            if inside && flags & NO_RESTART_ON_SIGNAL == 0 {
                frozen.ip = abort;
            } else if inside {
                critical_section = Some(self.section);
            }
        }
        let RseqConfiguration { address, size, signature, .. } = self.registered;
        Rseq { address, size, signature, critical_section }
    }
}

/// Registers it again.
pub fn thaw(rseq: &Rseq, batch: &mut Batch) {
    let arguments = [rseq.address.into(), rseq.size.into(), 0.into(), rseq.signature.into()];
    batch.call("rseq", RSEQ, arguments);
}
