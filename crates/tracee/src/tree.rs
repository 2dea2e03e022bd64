//! Stopping a whole tree of processes.

use std::collections::HashSet;

use crate::{
    error::{Error, Result},
    patient::{Patient, PatientThread},
    procdir::ProcDir,
    sleepers::Sleepers,
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
        let mut tree = StoppedTree { patients: vec![Patient::stop(root)?], zombies: Vec::new() };
        let mut known = HashSet::from([root]);
        while tree.stop_newcomers(&mut known)? {}
        Ok(tree)
    }

    /// Live processes, parents before their children.
    pub fn patients(&self) -> &[Patient] {
        &self.patients
    }

    pub fn patients_mut(&mut self) -> &mut [Patient] {
        &mut self.patients
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
        // The leader's end is told only after that of the other threads; the init of a pid namespace
        // ends only after all in it have been waited for.
        let tids: Vec<i32> = self
            .patients
            .iter()
            .rev()
            .flat_map(|patient| patient.threads().iter().rev().map(PatientThread::tid))
            .collect();
        let mut result = Ok(());
        let mut patients = self.patients;
        for patient in patients.drain(..) {
            result = result.and(patient.kill());
        }
        for tid in tids {
            result = result.and(wait_for_end(tid));
        }
        result
    }

    fn stop_newcomers(&mut self, known: &mut HashSet<i32>) -> Result<bool> {
        let mut found = false;
        let mut index = 0;
        while index < self.patients.len() {
            for child in self.patients[index].proc().children()? {
                if !known.insert(child) {
                    continue;
                }
                found = true;
                match zombie_or_patient(child) {
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

fn zombie_or_patient(pid: i32) -> Result<Kin> {
    if let Some(zombie) = as_zombie(pid)? {
        return Ok(Kin::Zombie(zombie));
    }
    match Patient::stop(pid) {
        Ok(patient) => Ok(Kin::Patient(Box::new(patient))),
        // It may have ended since.
        Err(error) => match as_zombie(pid)? {
            Some(zombie) => Ok(Kin::Zombie(zombie)),
            None => Err(error),
        },
    }
}

fn as_zombie(pid: i32) -> Result<Option<Zombie>> {
    let proc = ProcDir::open(pid)?;
    let stat = proc.stat()?;
    // A leader that ended before its threads looks like a zombie but is none.
    if stat.state != b'Z' || proc.threads()?.len() > 1 {
        return Ok(None);
    }
    let status = proc.status()?;
    Ok(Some(Zombie {
        pid,
        own_pid: status.namespace_pids.last().copied().unwrap_or(pid),
        parent: stat.parent,
        group: stat.group,
        session: stat.session,
        name: stat.name,
        wait_status: stat.exit_code,
    }))
}

/// Takes the end of a tracee that was killed, so that its parent is told.
fn wait_for_end(pid: i32) -> Result<()> {
    use stasis_sys::wait::{Status, Whom, wait};
    loop {
        match wait(Whom::Thread(pid)) {
            Ok((_, Status::Ended { .. })) | Err(stasis_sys::Errno::CHILD) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(Error::at(pid, "wait4")(errno)),
        }
    }
}

impl Sleepers {
    /// Takes a reading of the process `root` and everything below it, without stopping anybody.
    pub fn of_tree(root: i32) -> Result<Self> {
        let mut sleepers = Sleepers::default();
        let mut left = vec![root];
        while let Some(pid) = left.pop() {
            let Ok(proc) = ProcDir::open(pid) else { continue };
            sleepers.look_at(&proc)?;
            left.extend(proc.children().unwrap_or_default());
        }
        Ok(sleepers)
    }
}
