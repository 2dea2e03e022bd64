//! What the kernel makes of the steps. A plan is played before anybody trusts it, so that a tree
//! comes back as it was or not at all.

use std::collections::BTreeMap;

use stasis_model::{NsPid, TableId, Tree};

use crate::{Impossible, Job, Step};

/// A process as the steps have made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    parent: Option<NsPid>,
    group: NsPid,
    session: NsPid,
    /// Who shares descriptors has the same number here.
    table: u32,
}

/// Plays the steps and compares the outcome with the tree. Gives those that are needed: most processes are born in
/// their group.
pub(crate) fn play(tree: &Tree, job: Job, steps: Vec<Step>) -> Result<Vec<Step>, Impossible> {
    let root = tree.root();
    let outside = match job {
        Job::Own => (NsPid(0), NsPid(0)),
        Job::Shell => (root.group, root.session),
    };
    let first = Made { parent: None, group: outside.0, session: outside.1, table: 0 };
    let mut world =
        World { made: BTreeMap::from([(root.pid, first)]), adopting: Vec::new(), nr_tables: 1 };
    let mut needed = Vec::with_capacity(steps.len());
    for step in steps {
        if world.has(step) {
            continue;
        }
        if world.take(step).is_none() {
            return Err(Impossible::BadStep { step: format!("{step:?}") });
        }
        needed.push(step);
    }
    world.compare(tree)?;
    Ok(needed)
}

struct World {
    made: BTreeMap<NsPid, Made>,
    adopting: Vec<NsPid>,
    nr_tables: u32,
}

impl World {
    /// Whether a step would change nothing.
    fn has(&self, step: Step) -> bool {
        match step {
            Step::JoinGroup { pid, group } => {
                self.made.get(&pid).is_some_and(|made| made.group == group)
            }
            Step::Bear { .. }
            | Step::BearSibling { .. }
            | Step::LeadSession { .. }
            | Step::EndHelper { .. }
            | Step::Adopt { .. }
            | Step::StopAdopting { .. } => false,
        }
    }

    /// `None` if the kernel would refuse.
    fn take(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Bear { parent, child, shares_descriptors } => {
                let of_parent = *self.made.get(&parent)?;
                let table = if shares_descriptors { of_parent.table } else { self.new_table() };
                self.add(child, Made { parent: Some(parent), table, ..of_parent })
            }
            Step::BearSibling { elder, child } => {
                let of_elder = *self.made.get(&elder)?;
                of_elder.parent?;
                let table = self.new_table();
                self.add(child, Made { table, ..of_elder })
            }
            Step::LeadSession { pid } => {
                // setsid(2) fails for a leader of a group.
                if self.made.values().any(|made| made.group == pid) {
                    return None;
                }
                let made = self.made.get_mut(&pid)?;
                (made.group, made.session) = (pid, pid);
                Some(())
            }
            Step::JoinGroup { pid, group } => {
                let session = self.made.get(&pid)?.session;
                let exists = |made: &Made| made.group == group && made.session == session;
                let may = session != pid && (group == pid || self.made.values().any(exists));
                self.made.get_mut(&pid).filter(|_| may)?.group = group;
                Some(())
            }
            Step::EndHelper { pid, parent } => {
                let helper = self.made.remove(&pid).filter(|made| made.parent == Some(parent))?;
                let reaper = self.reaper(helper.parent?);
                for made in self.made.values_mut().filter(|made| made.parent == Some(pid)) {
                    made.parent = Some(reaper?);
                }
                Some(())
            }
            Step::Adopt { pid } => {
                self.adopting.push(pid);
                Some(())
            }
            Step::StopAdopting { pid } => {
                self.adopting.retain(|adopting| *adopting != pid);
                Some(())
            }
        }
    }

    fn new_table(&mut self) -> u32 {
        self.nr_tables += 1;
        self.nr_tables - 1
    }

    fn add(&mut self, pid: NsPid, made: Made) -> Option<()> {
        let is_held = |other: &Made| other.group == pid || other.session == pid;
        if self.made.values().any(is_held) || self.made.insert(pid, made).is_some() {
            return None;
        }
        Some(())
    }

    fn reaper(&self, mut pid: NsPid) -> Option<NsPid> {
        while !self.adopting.contains(&pid) {
            pid = self.made.get(&pid)?.parent?;
        }
        Some(pid)
    }

    fn compare(&self, tree: &Tree) -> Result<(), Impossible> {
        let mut tables: BTreeMap<TableId, u32> = BTreeMap::new();
        let mut owners: BTreeMap<u32, TableId> = BTreeMap::new();
        for (index, process) in tree.processes.iter().enumerate() {
            let pid = process.pid;
            let Some(made) = self.made.get(&pid) else {
                return Err(Impossible::Differs { pid, what: "process" });
            };
            let differs = |what| Err(Impossible::Differs { pid, what });
            if index > 0 && made.parent != process.parent {
                return differs("parent");
            }
            if made.session != process.session {
                return differs("session");
            }
            if made.group != process.group {
                return differs("process group");
            }
            if let Some(live) = process.live() {
                let known = *tables.entry(live.descriptors).or_insert(made.table);
                let owner = *owners.entry(made.table).or_insert(live.descriptors);
                if known != made.table || owner != live.descriptors {
                    return differs("descriptor table (CLONE_FILES)");
                }
            }
        }
        let is_extra = |pid: &&NsPid| tree.process(**pid).is_none();
        match self.made.keys().find(is_extra) {
            Some(pid) => Err(Impossible::Differs { pid: *pid, what: "end" }),
            None => Ok(()),
        }
    }
}
