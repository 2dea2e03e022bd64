//! Processes are frozen one after the other, by remote calls from one thread on one processor. What `/proc`
//! tells of those to come is read meanwhile.

use std::{sync::Arc, thread};

use stasis_objects::process::Texts;
use stasis_tracee::{Patient, ProcDir};

use crate::{ahead, facade::Error, processor::OneProcessor};

/// Freezes each process by `freeze`, in their order; those who find back to their own processors stay on the
/// one on which we are held.
pub fn freeze_each(
    patients: &mut [Patient],
    processor: Option<&OneProcessor>,
    mut freeze: impl FnMut(&mut Patient, Texts) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(processor) = processor {
        patients.iter_mut().for_each(|patient| patient.stay_on(processor.number()));
    }
    let procs: Vec<(Arc<ProcDir>, String)> =
        patients.iter().map(|patient| (patient.shared_proc(), name_of(patient))).collect();
    let texts = procs.iter().map(|(proc, name)| Texts::read(proc, name));
    let weigh = |texts: &stasis_objects::Result<Texts>| texts.as_ref().map_or(0, Texts::weight);
    thread::scope(|scope| {
        let texts = ahead::of(scope, texts, weigh, processor);
        patients.iter_mut().zip(texts).try_for_each(|(patient, texts)| freeze(patient, texts?))
    })
}

fn name_of(patient: &Patient) -> String {
    String::from_utf8_lossy(&patient.stat().name).into_owned()
}
