//! Process groups: leaders first, then those who join; a dead leader comes back for a moment.

use std::collections::BTreeSet;

use stasis_model::{NsPid, Process, Tree};

use crate::{Helper, Job, Step};

pub(crate) fn plan(tree: &Tree, job: Job, helpers: &[Helper], steps: &mut Vec<Step>) {
    let outside = match job {
        Job::Own => None,
        Job::Shell => Some(tree.root().group).filter(|group| tree.process(*group).is_none()),
    };
    let is_leader = |process: &Process| process.session == process.pid;
    for process in &tree.processes {
        if process.group == process.pid && !is_leader(process) {
            steps.push(Step::JoinGroup { pid: process.pid, group: process.pid });
        }
    }
    let mut dead: BTreeSet<NsPid> = helpers.iter().map(|helper| helper.pid).collect();
    let mut group_helpers = Vec::new();
    for process in &tree.processes {
        let group = process.group;
        if group == process.pid || Some(group) == outside {
            continue;
        }
        if tree.process(group).is_none() && dead.insert(group) {
            // Born by a member, it is in the group's session.
            let parent = process.pid;
            steps.push(Step::Bear { parent, child: group, shares_descriptors: false });
            steps.push(Step::JoinGroup { pid: group, group });
            group_helpers.push(Helper { pid: group, parent, session: process.session });
        }
        if !is_leader(process) {
            steps.push(Step::JoinGroup { pid: process.pid, group });
        }
    }
    for helper in group_helpers.iter().rev() {
        steps.push(Step::EndHelper { pid: helper.pid, parent: helper.parent });
    }
}
