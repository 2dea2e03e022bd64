//! Stopping a whole tree of processes.

use std::{collections::HashSet, time::Duration};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use stasis_sys::{
    Errno,
    wait::{self, Status, Whom},
};

use crate::{
    error::{Error, Result},
    patient::{Patient, PatientThread},
    procdir::{FEW, ProcDir},
    way_back::Trampolines,
};

/// A process of the tree that has ended and was not waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zombie {
    pub pid: i32,
    pub own_pid: i32,
    /// As the supervisor sees them.
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    pub name: Vec<u8>,
    pub wait_status: i32,
}

/// A tree of which nothing moves.
#[derive(Debug)]
pub struct StoppedTree {
    patients: Vec<Patient>,
    zombies: Vec<Zombie>,
}

impl StoppedTree {
    /// Stops the process `root` and everything below it, parents first.
    ///
    /// A process that is stopped cannot get new children; one that is not yet stopped may lose its
    /// children to an ancestor. So the search is repeated until it finds nobody new.
    ///
    /// # Errors
    /// As [`Patient::stop`]; whatever was stopped runs on.
    pub fn stop(root: i32) -> Result<Self> {
        let trampolines = Trampolines::default();
        let patients = vec![Patient::stop_with(ProcDir::open(root)?, &trampolines)?];
        let mut tree = StoppedTree { patients, zombies: Vec::new() };
        let mut known = HashSet::from([root]);
        while tree.stop_newcomers(&mut known, &trampolines)? {}
        Ok(tree)
    }

    /// Live processes, parents before their children.
    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    pub fn patients_mut(&mut self) -> &mut [Patient] {
        &mut self.patients
    }

    /// How many threads they have together.
    pub fn nr_threads(&self) -> usize {
        self.patients.iter().map(|patient| patient.threads().len()).sum()
    }

    pub fn zombies(&self) -> &[Zombie] {
        &self.zombies
    }

    /// Lets the tree go on as if nothing had happened.
    ///
    /// # Errors
    /// The first failure; the others are let go all the same.
    pub fn resume(self) -> Result<()> {
        // Children first, so that a parent does not see them standing.
        let results = self.patients.into_iter().rev().map(Patient::resume);
        results.fold(Ok(()), Result::and)
    }

    /// Ends the tree, the root last so that nobody starts anew what he lost.
    pub fn kill(self) -> Result<()> {
        let (mut prompt, mut others) = (Vec::new(), Vec::new());
        for patient in self.patients.iter().rev() {
            for tid in patient.threads().iter().rev().map(PatientThread::tid) {
                if ends_promptly(patient, tid) { prompt.push(tid) } else { others.push(tid) }
            }
        }
        let killed = self.patients.into_iter().map(Patient::kill);
        let result = killed.fold(Ok(()), Result::and);
        result.and(wait_for_ends(&prompt)).and(wait_in_no_order(others))
    }

    fn stop_newcomers(
        &mut self,
        known: &mut HashSet<i32>,
        trampolines: &Trampolines,
    ) -> Result<bool> {
        let mut found = false;
        let mut index = 0;
        while index < self.patients.len() {
            for child in self.patients[index].proc().children()? {
                if !known.insert(child) {
                    continue;
                }
                found = true;
                match zombie_or_patient(child, trampolines) {
                    Ok(Kin::Zombie(zombie)) => self.zombies.push(zombie),
                    Ok(Kin::Patient(patient)) => self.patients.push(*patient),
                    // It ended and was collected; its children, if any, turn up elsewhere.
                    Err(Error::Died { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            index += 1;
        }
        Ok(found)
    }
}

enum Kin {
    Zombie(Zombie),
    Patient(Box<Patient>),
}

fn zombie_or_patient(pid: i32, trampolines: &Trampolines) -> Result<Kin> {
    let proc = ProcDir::open(pid)?;
    if let Some(zombie) = as_zombie(&proc)? {
        return Ok(Kin::Zombie(zombie));
    }
    match Patient::stop_with(proc, trampolines) {
        Ok(patient) => Ok(Kin::Patient(Box::new(patient))),
        // It may have ended since.
        Err(error) => match as_zombie(&ProcDir::open(pid)?)? {
            Some(zombie) => Ok(Kin::Zombie(zombie)),
            None => Err(error),
        },
    }
}

fn as_zombie(proc: &ProcDir) -> Result<Option<Zombie>> {
    let stat = proc.stat()?;
    // A leader that ended before its threads looks like a zombie but is none.
    if stat.state != b'Z' || proc.threads()?.len() > 1 {
        return Ok(None);
    }
    let status = proc.status()?;
    Ok(Some(Zombie {
        pid: proc.pid(),
        own_pid: status.namespace_pids.last().copied().unwrap_or(proc.pid()),
        parent: stat.parent,
        group: stat.group,
        session: stat.session,
        name: stat.name,
        wait_status: stat.exit_code,
    }))
}

/// Whether a thread that is killed ends whatever the others do. A leader's end is told only after that of its other
/// threads, and of init's threads whichever is the last ends only after everything else in its pid namespace
/// was waited for.
fn ends_promptly(patient: &Patient, tid: i32) -> bool {
    const INIT: i32 = 1;
    tid != patient.pid() && patient.own_pid() != INIT
}

/// Takes the ends of tracees that were killed, so that their parents are told. The kernel then clears up what it
/// kept of them, which is work for all processors.
fn wait_for_ends(tids: &[i32]) -> Result<()> {
    match tids.len() {
        ..FEW => tids.iter().try_for_each(|tid| wait_for_end(*tid)),
        _ => tids.par_iter().try_for_each(|tid| wait_for_end(*tid)),
    }
}

/// Takes the end of a task that was killed, unless somebody else has.
pub(crate) fn wait_for_end(tid: i32) -> Result<()> {
    loop {
        match wait::wait(Whom::Thread(tid)) {
            Ok((_, Status::Ended { .. })) | Err(Errno::CHILD) => return Ok(()),
            Ok((_, Status::Stopped { .. })) => {}
            Err(errno) => return Err(Error::at(tid, "wait4")(errno)),
        }
    }
}

/// The same for those that may wait for each other.
fn wait_in_no_order(mut tids: Vec<i32>) -> Result<()> {
    let mut result = Ok(());
    while !tids.is_empty() {
        let before = tids.len();
        tids.retain(|tid| match wait::poll(Whom::Thread(*tid)) {
            Ok(Some((_, Status::Ended { .. }))) | Err(Errno::CHILD) => false,
            Ok(_) => true,
            Err(errno) => {
                result = Err(Error::at(*tid, "wait4")(errno));
                false
            }
        });
        if tids.len() == before {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    result
}
