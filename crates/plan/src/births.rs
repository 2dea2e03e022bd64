//! Births and sessions.
//!
//! A child inherits the session that whoever bears it has at that moment. Four ways lead to a child `X`
//! of `P` in session `S`:
//!
//! 1. `P` is in `S` and bears it.
//! 2. `P` leads a session of its own, but was born in `S`: it bears `X` before its setsid(2).
//! 3. A child of `P` in `S` bears `X` as its sibling (`CLONE_PARENT`).
//! 4. Somebody below `P` in `S` bears a helper, the helper bears `X` and ends, and `P` adopts `X`.
//!
//! For 3 and 4, a leader who is dead and gone comes back for a moment, below the deepest process that has
//! a child in its session.
//!
//! Processes only ever move up, to an ancestor who adopts them, and stay in the session they were born
//! in unless they lead one. So whoever adopted `X` once had a member of `S` below itself; as a rule one is
//! still there. It is not if that ancestor ceased to be a subreaper afterwards and the members then went
//! to somebody higher up: then there is no way, and the tree is refused.

use std::collections::{BTreeMap, BTreeSet};

use stasis_model::{NsPid, Process, TableId, Tree};

use crate::{Helper, Impossible, Job, Step, spare::SparePids};

struct Planner<'a> {
    tree: &'a Tree,
    children: BTreeMap<NsPid, Vec<&'a Process>>,
    by_pid: BTreeMap<NsPid, &'a Process>,
    /// Session that a process must be born in; absent if any will do.
    needs: BTreeMap<NsPid, NsPid>,
    spare: &'a SparePids<'a>,
    steps: Vec<Step>,
    helpers: Vec<Helper>,
    /// Children that their parent cannot bear itself.
    orphans: Vec<&'a Process>,
    born: BTreeSet<NsPid>,
}

pub(crate) fn plan(
    tree: &Tree,
    job: Job,
    spare: &SparePids,
) -> Result<(Vec<Step>, Vec<Helper>), Impossible> {
    let mut children: BTreeMap<NsPid, Vec<&Process>> = BTreeMap::new();
    for process in &tree.processes {
        if let Some(parent) = process.parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut planner = Planner {
        tree,
        children,
        by_pid: tree.processes.iter().map(|process| (process.pid, process)).collect(),
        needs: BTreeMap::new(),
        spare,
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
    planner.raise(root, None);
    planner.raise_orphans()?;
    Ok((planner.steps, planner.helpers))
}

impl<'a> Planner<'a> {
    /// A leader of its own session must be born in the one that its elder children still have.
    fn note_needs(&mut self) {
        let root = self.tree.root().pid;
        // Children come after their parents, so their needs are known first.
        for process in self.tree.processes.iter().rev() {
            let need = match process.session == process.pid {
                true if process.pid == root => None,
                true => self.need_of_leader(process),
                false => Some(process.session),
            };
            if let Some(need) = need {
                self.needs.insert(process.pid, need);
            }
        }
    }

    fn need_of_leader(&self, leader: &Process) -> Option<NsPid> {
        let kids = self.children.get(&leader.pid).into_iter().flatten();
        let needs = kids.filter_map(|child| self.needs.get(&child.pid).copied());
        // A session that began below the leader, or is known only there, came to it by adoption.
        let mut elder =
            needs.filter(|need| *need != leader.pid && !self.is_below(*need, leader.pid));
        let first = elder.next()?;
        let parent = leader.parent.and_then(|parent| self.by_pid.get(&parent));
        let of_parent = parent.map(|parent| parent.session);
        let wanted = std::iter::once(first).chain(elder).collect::<Vec<_>>();
        // If there are several, some came by adoption, but the parent's session most likely did not.
        Some(of_parent.filter(|session| wanted.contains(session)).unwrap_or(first))
    }

    /// Whether a session's leader is a descendant of `ancestor`, or, if the leader is gone, all members.
    fn is_below(&self, session: NsPid, ancestor: NsPid) -> bool {
        if self.by_pid.contains_key(&session) {
            return self.descends(session, ancestor);
        }
        let mut members = self.tree.processes.iter().filter(|process| process.session == session);
        members.all(|member| self.descends(member.pid, ancestor))
    }

    /// Whether `pid` is below `ancestor`; helpers are where they were born.
    fn descends(&self, pid: NsPid, ancestor: NsPid) -> bool {
        let mut at = pid;
        while let Some(parent) = self.parent_of(at) {
            if parent == ancestor {
                return true;
            }
            at = parent;
        }
        false
    }

    fn parent_of(&self, pid: NsPid) -> Option<NsPid> {
        let helper = self.helpers.iter().find(|helper| helper.pid == pid);
        helper.map(|helper| helper.parent).or_else(|| self.by_pid.get(&pid)?.parent)
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
            self.bear(process, child, inherited);
        }
        if leads {
            self.steps.push(Step::LeadSession { pid: process.pid });
        }
        for child in late {
            self.bear(process, child, Some(process.session));
        }
    }

    fn bear(&mut self, parent: &'a Process, child: &'a Process, inherited: Option<NsPid>) {
        let shares_descriptors = shares(table(parent), table(child));
        self.steps.push(Step::Bear { parent: parent.pid, child: child.pid, shares_descriptors });
        self.born.insert(child.pid);
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
            let stuck = left.len() == before && self.orphans.is_empty();
            left.append(&mut self.orphans);
            if stuck && !self.bring_back_any_leader(&left) {
                // Nobody is left whose birth could still help.
                let (pid, session) = (left[0].pid, left[0].session);
                let parent = left[0].parent.unwrap_or_default();
                return Err(Impossible::Unreachable { pid, session, parent });
            }
        }
        Ok(())
    }

    /// Bears a process whose session is not one of its parent's; `false` if that cannot be done yet.
    fn raise_orphan(&mut self, orphan: &'a Process) -> bool {
        let Some(parent) = orphan.parent else { return false };
        let Some(need) = self.needs.get(&orphan.pid).copied() else { return false };
        let members = self.born_members(need);
        let is_sibling = |pid: &&NsPid| self.parent_of(**pid) == Some(parent);
        if let Some(elder) = members.iter().find(is_sibling) {
            self.steps.push(Step::BearSibling { elder: *elder, child: orphan.pid });
        } else if let Some(member) = members.iter().find(|pid| self.descends(**pid, parent)) {
            self.raise_through_helper(orphan, parent, *member);
        } else if members.is_empty() && self.best_place_for_leader(need) == Some(parent) {
            self.bring_back_leader(parent, need);
            self.steps.push(Step::BearSibling { elder: need, child: orphan.pid });
        } else {
            return false;
        }
        self.born.insert(orphan.pid);
        self.raise(orphan, Some(need));
        true
    }

    /// Who exists and is in the session for good; a dead leader that is back comes first.
    fn born_members(&self, session: NsPid) -> Vec<NsPid> {
        let back = self.helpers.iter().filter(|helper| helper.session == session);
        let fits =
            |process: &&Process| process.session == session && self.born.contains(&process.pid);
        let members = self.tree.processes.iter().filter(fits).map(|process| process.pid);
        back.map(|helper| helper.pid).chain(members).collect()
    }

    /// The deepest process that needs a member of a dead leader's session below itself and does not
    /// depend on that session.
    fn best_place_for_leader(&self, session: NsPid) -> Option<NsPid> {
        if self.by_pid.contains_key(&session) {
            return None;
        }
        let depends = |pid: NsPid| {
            let mut at = Some(pid);
            while let Some(pid) = at {
                if self.needs.get(&pid) == Some(&session) {
                    return true;
                }
                at = self.parent_of(pid);
            }
            false
        };
        let users = self
            .tree
            .processes
            .iter()
            .filter(|process| self.needs.get(&process.pid) == Some(&session));
        let parents = users.filter_map(|user| user.parent).filter(|parent| !depends(*parent));
        parents.max_by_key(|parent| self.depth(*parent))
    }

    fn depth(&self, pid: NsPid) -> usize {
        std::iter::successors(Some(pid), |pid| self.parent_of(*pid)).count()
    }

    /// The last resort: a dead leader comes back below the first who needs it.
    fn bring_back_any_leader(&mut self, orphans: &[&'a Process]) -> bool {
        for orphan in orphans {
            let Some(need) = self.needs.get(&orphan.pid).copied() else { continue };
            let Some(parent) = orphan.parent else { continue };
            if !self.by_pid.contains_key(&need) && self.born_members(need).is_empty() {
                self.bring_back_leader(parent, need);
                return true;
            }
        }
        false
    }

    /// The dead leader of a session comes back for a moment as a child of `parent`.
    fn bring_back_leader(&mut self, parent: NsPid, session: NsPid) {
        let shares_descriptors = false;
        self.steps.push(Step::Bear { parent, child: session, shares_descriptors });
        self.steps.push(Step::LeadSession { pid: session });
        self.helpers.push(Helper { pid: session, parent, session });
    }

    /// A child of `member` bears the orphan and ends, so that the orphan comes to its reaper.
    fn raise_through_helper(&mut self, orphan: &Process, parent: NsPid, member: NsPid) {
        // Always the same: it is free again when the next one is needed.
        let pid = self.spare.next();
        let shares_descriptors = false;
        self.steps.push(Step::Adopt { pid: parent });
        self.steps.push(Step::Bear { parent: member, child: pid, shares_descriptors });
        self.steps.push(Step::Bear { parent: pid, child: orphan.pid, shares_descriptors });
        self.steps.push(Step::EndHelper { pid, parent: member });
        self.steps.push(Step::StopAdopting { pid: parent });
    }
}

fn table(process: &Process) -> Option<TableId> {
    process.live().map(|live| live.descriptors)
}

fn shares(parent: Option<TableId>, child: Option<TableId>) -> bool {
    parent.is_some() && parent == child
}
