//! Which pages a tree has written to since a round of its memory was taken.

use std::{
    collections::BTreeMap,
    ops::Range,
    os::fd::{BorrowedFd, OwnedFd},
};

use stasis_files::Previous;
use stasis_objects::{
    pages::Area,
    userfaultfd::{self, Notebook},
};
use stasis_tracee::{Patient, ProcDir, StoppedTree};

use crate::error::Error;

/// Notes about what the tasks of a tree write to, as of one round. Nothing is left in the tasks when it
/// is dropped, or when we are killed.
#[derive(Debug)]
pub struct Tracking {
    round: String,
    /// By pid. Whoever has the pid by now: notes that are not of its memory say nothing of it.
    notebooks: BTreeMap<i32, Notebook>,
}

/// The round before, and what was noted since.
#[derive(Debug)]
pub struct Since {
    pub previous: Previous,
    pub tracking: Tracking,
}

impl Tracking {
    /// Notes that somebody kept for us.
    pub fn kept(round: String, notebooks: impl IntoIterator<Item = (i32, OwnedFd)>) -> Tracking {
        let notebooks = notebooks.into_iter().map(|(pid, fd)| (pid, Notebook::kept(fd))).collect();
        Tracking { round, notebooks }
    }

    /// Name of the round whose pages are known; its directory bears it too.
    pub fn round(&self) -> &str {
        &self.round
    }

    /// What is to be kept for somebody else, by pid.
    pub fn descriptors(&self) -> impl Iterator<Item = (i32, BorrowedFd<'_>)> {
        self.notebooks.iter().map(|(pid, notebook)| (*pid, notebook.fd()))
    }

    /// Whether it is we who watch a mapping that is watched by somebody.
    pub(crate) fn is_ours(&self, pid: i32, watched: &Range<u64>) -> bool {
        self.notebooks.get(&pid).is_some_and(|notebook| !notebook.is_of_others(watched))
    }

    /// What was not written to since the round.
    pub(crate) fn untouched(&self, tree: &StoppedTree) -> Result<Untouched, Error> {
        let mut untouched = BTreeMap::new();
        for patient in tree.patients() {
            let Some(notebook) = self.notebooks.get(&patient.pid()) else { continue };
            let ranges = notebook.untouched(patient.proc(), &areas_of(patient.proc())?)?;
            untouched.insert(patient.pid(), ranges);
        }
        Ok(Untouched(untouched))
    }

    /// Begins a new round for a tree that stands still; notes of tasks that are gone go.
    pub(crate) fn next(
        before: Option<Tracking>,
        tree: &mut StoppedTree,
        round: String,
    ) -> Result<Tracking, Error> {
        let mut known = before.map(|tracking| tracking.notebooks).unwrap_or_default();
        let mut notebooks = BTreeMap::new();
        for patient in tree.patients_mut() {
            // Before there is a foothold, which is nobody's memory.
            let areas = areas_of(patient.proc())?;
            let own = known.remove(&patient.pid()).filter(|notebook| notebook.is_current(&areas));
            let notebook = match own {
                Some(notebook) => notebook,
                None => Notebook::begin(patient)?,
            };
            notebook.turn_page(patient.proc(), &areas)?;
            notebooks.insert(patient.pid(), notebook);
        }
        Ok(Tracking { round, notebooks })
    }
}

pub fn areas_of(proc: &ProcDir) -> Result<Vec<Area>, Error> {
    Ok(userfaultfd::areas(&proc.maps()?))
}

/// Ranges of memory by pid that are as they were in the round before.
#[derive(Debug, Default)]
pub struct Untouched(BTreeMap<i32, Vec<Range<u64>>>);

impl Untouched {
    pub fn of(&self, patient: &Patient) -> &[Range<u64>] {
        self.0.get(&patient.pid()).map_or(&[], Vec::as_slice)
    }
}

/// A name that no other round has.
pub fn new_round() -> Result<String, Error> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.map(|text| text.trim().to_owned())
        .map_err(|error| Error::Failed(format!("cannot name a round: {error}")))
}
