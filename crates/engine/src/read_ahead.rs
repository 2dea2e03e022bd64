//! Processes are frozen one after the other, by remote calls from one thread on one processor. What `/proc`
//! tells of those to come is read meanwhile.

use std::{sync::Arc, thread};

use stasis_objects::process::Texts;
use stasis_tracee::{FEW, Patient, ProcDir};

use crate::{ahead, facade::Error, processor::OneProcessor};

/// Freezes each process by `freeze`, in their order; it asks for the texts when it needs them. Those who find back to
/// their own processors stay on the one on which we are held.
pub fn freeze_each(
    patients: &mut [Patient],
    processor: Option<&OneProcessor>,
    mut freeze: impl FnMut(&mut Patient, &mut NextTexts<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(processor) = processor {
        patients.iter_mut().for_each(|patient| patient.stay_on(processor.number()));
    }
    let has_many_threads = patients.iter().any(|patient| patient.threads().len() >= FEW);
    let procs: Vec<(Arc<ProcDir>, String)> =
        patients.iter().map(|patient| (patient.shared_proc(), name_of(patient))).collect();
    let texts = procs.iter().map(|(proc, name)| Texts::read(proc, name));
    let weigh = |texts: &stasis_objects::Result<Texts>| texts.as_ref().map_or(0, Texts::weight);
    thread::scope(|scope| {
        let mut texts = match has_many_threads {
            true => Box::new(ahead::of_heavy(scope, texts, weigh, processor)),
            false => ahead::of(scope, texts, weigh, processor),
        };
        let mut next = || Ok(texts.next().expect("as many texts as processes")?);
        patients.iter_mut().try_for_each(|patient| freeze(patient, &mut next))
    })
}

/// Gives the texts of the process whose turn it is.
pub type NextTexts<'a> = dyn FnMut() -> Result<Texts, Error> + 'a;

fn name_of(patient: &Patient) -> String {
    String::from_utf8_lossy(&patient.stat().name).into_owned()
}
