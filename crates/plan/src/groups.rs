//! Process groups: who founded one founds it again, the others join; a dead founder comes back for a
//! moment.

use std::collections::BTreeSet;

use stasis_model::{NsPid, Process, Tree};

use crate::{Helper, Job, Step, spare::SparePids};

pub(crate) fn plan(
    tree: &Tree,
    job: Job,
    helpers: &[Helper],
    spare: &mut SparePids,
    steps: &mut Vec<Step>,
) {
    let groups: BTreeSet<NsPid> = tree.processes.iter().map(|process| process.group).collect();
    let pids: BTreeSet<NsPid> = tree.processes.iter().map(|process| process.pid).collect();
    let outside = match job {
        Job::Own => None,
        Job::Shell => Some(tree.root().group).filter(|group| !pids.contains(group)),
    };
    let is_leader = |process: &&Process| process.session == process.pid;
    // Also those who have gone to another group since.
    let founders = tree.processes.iter().filter(|p| groups.contains(&p.pid) && !is_leader(p));
    steps.extend(founders.map(|founder| Step::JoinGroup { pid: founder.pid, group: founder.pid }));
    let mut there: BTreeSet<NsPid> = helpers.iter().map(|helper| helper.pid).collect();
    let mut group_helpers = Vec::new();
    for process in tree.processes.iter().filter(|process| Some(process.group) != outside) {
        let group = process.group;
        if !pids.contains(&group) && there.insert(group) {
            // Born by a member, it is in the group's session.
            let parent = process.pid;
            steps.push(Step::Bear { parent, child: group, shares_descriptors: false });
            steps.push(Step::JoinGroup { pid: group, group });
            group_helpers.push(Helper { pid: group, parent, session: process.session });
        }
    }
    let joins = |process: &&Process| {
        process.group != process.pid && Some(process.group) != outside && !is_leader(process)
    };
    let (founders, others): (Vec<_>, Vec<_>) =
        tree.processes.iter().filter(joins).partition(|process| groups.contains(&process.pid));
    // Founders leave last. A group must have a member meanwhile, if only for the moment.
    for founder in &founders {
        if others.iter().all(|other| other.group != founder.pid) {
            let (pid, parent) = (spare.take(), founder.pid);
            steps.push(Step::Bear { parent, child: pid, shares_descriptors: false });
            group_helpers.push(Helper { pid, parent, session: founder.session });
        }
    }
    for process in others.into_iter().chain(founders) {
        steps.push(Step::JoinGroup { pid: process.pid, group: process.group });
    }
    for helper in group_helpers.iter().rev() {
        steps.push(Step::EndHelper { pid: helper.pid, parent: helper.parent });
    }
}
