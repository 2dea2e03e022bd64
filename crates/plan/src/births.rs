//! Births and sessions. A child inherits the session that its parent has at that moment, so children of
//! an earlier session are born before their parent leads one of its own.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{NsPid, Process, TableId, Tree};

use crate::{Helper, Impossible, Job, Step};

struct Planner<'a> {
    tree: &'a Tree,
    children: BTreeMap<NsPid, Vec<&'a Process>>,
    /// Session that a process must be born in; absent if any will do.
    needs: BTreeMap<NsPid, NsPid>,
    steps: Vec<Step>,
    helpers: Vec<Helper>,
    /// Orphans: adopted by their parent after their own parents' end.
    orphans: Vec<&'a Process>,
    born: BTreeSet<NsPid>,
}

pub(crate) fn plan(tree: &Tree, job: Job) -> Result<(Vec<Step>, Vec<Helper>), Impossible> {
    let mut children: BTreeMap<NsPid, Vec<&Process>> = BTreeMap::new();
    for process in &tree.processes {
        if let Some(parent) = process.parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut planner = Planner {
        tree,
        children,
        needs: BTreeMap::new(),
        steps: Vec::new(),
        helpers: Vec::new(),
        orphans: Vec::new(),
        born: BTreeSet::new(),
    };
    let root = tree.root();
    if job == Job::Own && root.session != root.pid {
        return Err(Impossible::ForeignSession { pid: root.pid, session: root.session });
    }
    planner.note_needs();
    planner.born.insert(root.pid);
    let inherited = match job {
        Job::Own => None,
        Job::Shell => Some(root.session),
    };
    planner.raise(root, inherited);
    planner.raise_orphans()?;
    Ok((planner.steps, planner.helpers))
}

impl<'a> Planner<'a> {
    /// A leader of its own session needs the session that its elder children still have.
    fn note_needs(&mut self) {
        for process in self.tree.processes.iter().rev() {
            let need = if process.session == process.pid {
                let kids = self.children.get(&process.pid).into_iter().flatten();
                let needs = kids.filter_map(|child| self.needs.get(&child.pid).copied());
                needs.into_iter().find(|need| *need != process.pid)
            } else {
                Some(process.session)
            };
            if let Some(need) = need {
                self.needs.insert(process.pid, need);
            }
        }
    }

    /// Bears all children of a process that exists and was born in session `inherited`.
    fn raise(&mut self, process: &'a Process, inherited: Option<NsPid>) {
        let kids = self.children.get(&process.pid).cloned().unwrap_or_default();
        let leads = process.session == process.pid;
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for child in kids {
            match self.needs.get(&child.pid) {
                None => late.push(child),
                Some(need) if *need == process.session => late.push(child),
                Some(need) if leads && Some(*need) == inherited => early.push(child),
                Some(_) => self.orphans.push(child),
            }
        }
        for child in early {
            self.bear(process, child);
        }
        if leads {
            self.steps.push(Step::LeadSession { pid: process.pid });
        }
        for child in late {
            self.bear(process, child);
        }
    }

    fn bear(&mut self, parent: &'a Process, child: &'a Process) {
        let shares_descriptors = shares(table(parent), table(child));
        self.steps.push(Step::Bear { parent: parent.pid, child: child.pid, shares_descriptors });
        self.born.insert(child.pid);
        let inherited = self.needs.get(&child.pid).copied().or(Some(parent.session));
        self.raise(child, inherited);
    }

    fn raise_orphans(&mut self) -> Result<(), Impossible> {
        let mut left = std::mem::take(&mut self.orphans);
        while !left.is_empty() {
            let before = left.len();
            for orphan in std::mem::take(&mut left) {
                if !self.raise_orphan(orphan) {
                    left.push(orphan);
                }
            }
            left.append(&mut self.orphans);
            if left.len() == before {
                // Nobody is left whose birth could still help.
                let (pid, session) = (left[0].pid, left[0].session);
                return Err(Impossible::ForeignSession { pid, session });
            }
        }
        Ok(())
    }

    /// Bears a process whose session is not one of its parent's; `false` if that cannot be done yet.
    fn raise_orphan(&mut self, orphan: &'a Process) -> bool {
        let Some(parent) = orphan.parent else { return false };
        let Some(need) = self.needs.get(&orphan.pid).copied() else { return false };
        let elder = self.sibling_in_session(parent, need);
        match elder {
            Some(elder) => {
                self.steps.push(Step::BearSibling { elder, child: orphan.pid });
            }
            None if self.tree.process(need).is_none() => {
                let helper = self.helper_for(parent, need);
                self.steps.push(Step::BearSibling { elder: helper, child: orphan.pid });
            }
            None => {
                let Some(member) = self.member_of_session(need) else { return false };
                self.raise_through_helper(orphan, parent, member);
            }
        }
        self.born.insert(orphan.pid);
        self.raise(orphan, Some(need));
        true
    }

    /// A child of `parent` that is in the session for good.
    fn sibling_in_session(&self, parent: NsPid, session: NsPid) -> Option<NsPid> {
        let kids = self.children.get(&parent)?;
        let fits = |kid: &&&Process| {
            kid.session == session && self.born.contains(&kid.pid) && kid.live().is_some()
        };
        kids.iter().find(fits).map(|kid| kid.pid)
    }

    fn member_of_session(&self, session: NsPid) -> Option<NsPid> {
        let fits = |process: &&Process| {
            process.session == session
                && self.born.contains(&process.pid)
                && process.live().is_some()
        };
        self.tree.processes.iter().find(fits).map(|process| process.pid)
    }

    /// The dead leader of a session comes back for a moment as a child of `parent`.
    fn helper_for(&mut self, parent: NsPid, session: NsPid) -> NsPid {
        if !self.helpers.iter().any(|helper| helper.pid == session) {
            let shares_descriptors = false;
            self.steps.push(Step::Bear { parent, child: session, shares_descriptors });
            self.steps.push(Step::LeadSession { pid: session });
            self.helpers.push(Helper { pid: session, parent, session });
        }
        session
    }

    /// A child of `member` bears the orphan and ends, so that the orphan comes to its reaper.
    fn raise_through_helper(&mut self, orphan: &Process, parent: NsPid, member: NsPid) {
        let pid = self.unused_pid();
        let shares_descriptors = false;
        self.steps.push(Step::Adopt { pid: parent });
        self.steps.push(Step::Bear { parent: member, child: pid, shares_descriptors });
        self.steps.push(Step::Bear { parent: pid, child: orphan.pid, shares_descriptors });
        self.steps.push(Step::EndHelper { pid, parent: member });
    }

    fn unused_pid(&self) -> NsPid {
        let used = self.tree.processes.iter().flat_map(|process| {
            let threads = process.live().into_iter().flat_map(|live| &live.threads);
            threads.map(|thread| thread.tid.0).chain([
                process.pid.0,
                process.group.0,
                process.session.0,
            ])
        });
        let temporary = self.steps.iter().filter_map(|step| match step {
            Step::Bear { child, .. } => Some(child.0),
            _ => None,
        });
        NsPid(used.chain(temporary).max().unwrap_or(1) + 1)
    }
}

fn table(process: &Process) -> Option<TableId> {
    process.live().map(|live| live.descriptors)
}

fn shares(parent: Option<TableId>, child: Option<TableId>) -> bool {
    parent.is_some() && parent == child
}
