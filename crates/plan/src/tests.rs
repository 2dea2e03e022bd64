use std::collections::BTreeMap;

use proptest::prelude::*;
use stasis_model::{
    AddressSpace, FsContext, IntervalTimer, Live, NsPid, Process, SignalAction, State, TableId,
    Tree,
};

use crate::{Job, Step, steps};

/// pid, parent, group, session
type Row = (i32, i32, i32, i32);

fn tree(rows: &[Row]) -> Tree {
    let processes = rows
        .iter()
        .enumerate()
        .map(|(index, (pid, parent, group, session))| Process {
            pid: NsPid(*pid),
            parent: (index > 0).then_some(NsPid(*parent)),
            group: NsPid(*group),
            session: NsPid(*session),
            name: b"test".to_vec(),
            state: State::Live { live: Box::new(live(*pid)), stopped_by: None },
        })
        .collect();
    Tree { processes, ..Tree::default() }
}

fn live(pid: i32) -> Live {
    Live {
        threads: Vec::new(),
        memory: AddressSpace::default(),
        fs: FsContext::default(),
        descriptors: TableId(pid.cast_unsigned()),
        signal_actions: [SignalAction::default(); 64],
        pending: Vec::new(),
        itimer_real: IntervalTimer::default(),
        itimer_virtual: IntervalTimer::default(),
        itimer_prof: IntervalTimer::default(),
        posix_timers: Vec::new(),
        limits: Vec::new(),
        personality: 0,
        kernel_flags: 0,
        oom_score_adj: None,
        login_uid: None,
        child_subreaper: false,
        membarrier: 0,
    }
}

/// What the kernel would make of the steps: pid to parent, group, session.
fn play(root: i32, steps: &[Step]) -> BTreeMap<i32, (i32, i32, i32)> {
    let mut world = BTreeMap::from([(root, (0, 1_000_000, 1_000_000))]);
    let mut reaper = root;
    for step in steps {
        match *step {
            Step::Bear { parent, child, .. } => {
                let (_, group, session) = world[&parent.0];
                assert!(world.insert(child.0, (parent.0, group, session)).is_none());
            }
            Step::BearSibling { elder, child } => {
                let (parent, group, session) = world[&elder.0];
                assert!(world.insert(child.0, (parent, group, session)).is_none());
            }
            Step::LeadSession { pid } => {
                let entry = world.get_mut(&pid.0).unwrap();
                (entry.1, entry.2) = (pid.0, pid.0);
            }
            Step::JoinGroup { pid, group } => {
                let session = world[&pid.0].2;
                let exists =
                    group == pid || world.values().any(|v| v.1 == group.0 && v.2 == session);
                assert!(exists, "{pid} joins group {group}, which is not in its session");
                world.get_mut(&pid.0).unwrap().1 = group.0;
            }
            Step::Adopt { pid } => reaper = pid.0,
            Step::EndHelper { pid, .. } => {
                world.remove(&pid.0);
                for entry in world.values_mut() {
                    if entry.0 == pid.0 {
                        entry.0 = reaper;
                    }
                }
            }
        }
    }
    world
}

fn check(rows: &[Row]) {
    let tree = tree(rows);
    let steps = steps(&tree, Job::Own).unwrap();
    let world = play(rows[0].0, &steps);
    let wanted: BTreeMap<i32, (i32, i32, i32)> = rows
        .iter()
        .enumerate()
        .map(|(i, r)| (r.0, (if i == 0 { 0 } else { r.1 }, r.2, r.3)))
        .collect();
    assert_eq!(world, wanted, "{steps:?}");
}

#[test]
fn one_process() {
    check(&[(10, 0, 10, 10)]);
}

#[test]
fn a_shell_with_jobs() {
    check(&[
        (10, 0, 10, 10),
        (11, 10, 11, 10),
        (12, 10, 11, 10),
        (13, 10, 10, 10),
        (14, 11, 11, 10),
    ]);
}

#[test]
fn a_child_with_a_session_of_its_own() {
    check(&[(10, 0, 10, 10), (11, 10, 11, 11), (12, 11, 11, 11), (13, 11, 10, 10)]);
}

#[test]
fn a_daemon_whose_session_leader_is_dead() {
    check(&[(1, 0, 1, 1), (12, 1, 11, 11), (13, 12, 11, 11)]);
}

#[test]
fn an_orphan_of_a_living_session_elsewhere() {
    check(&[(1, 0, 1, 1), (20, 1, 20, 20), (21, 20, 21, 21), (22, 21, 22, 21), (30, 1, 30, 21)]);
}

#[test]
fn a_group_whose_leader_is_dead() {
    check(&[(1, 0, 1, 1), (12, 1, 11, 1), (13, 1, 11, 1)]);
}

#[test]
fn a_foreign_session_needs_a_shell_job() {
    let tree = tree(&[(10, 0, 9, 8), (11, 10, 9, 8), (12, 10, 12, 8)]);
    assert!(steps(&tree, Job::Own).is_err());
    let steps = steps(&tree, Job::Shell).unwrap();
    assert!(steps.iter().all(|step| !matches!(step, Step::LeadSession { .. })));
    assert!(steps.contains(&Step::JoinGroup { pid: NsPid(12), group: NsPid(12) }));
}

/// Grows a tree as processes do: fork, setsid, setpgid, exit.
fn grow(actions: &[(u8, usize, usize)]) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![(1, 0, 1, 1)];
    let mut next = 2;
    for (action, who, other) in actions {
        let index = who % rows.len();
        let (pid, _, group, session) = rows[index];
        match action % 4 {
            0 | 1 => {
                rows.push((next, pid, group, session));
                next += 1;
            }
            2 if pid != 1 => {
                let leads_group = rows.iter().any(|row| row.2 == pid);
                if !leads_group {
                    (rows[index].2, rows[index].3) = (pid, pid);
                }
            }
            3 if pid != 1 && session != pid => {
                let target = rows[other % rows.len()];
                let group = if target.3 == session { target.2 } else { pid };
                rows[index].2 = group;
            }
            _ => {}
        }
        if action % 16 == 15 && rows.len() > 2 {
            let gone = rows.remove(1 + other % (rows.len() - 1));
            for row in &mut rows {
                if row.1 == gone.0 {
                    row.1 = 1;
                }
            }
        }
    }
    // Parents before their children.
    let mut sorted = vec![rows[0]];
    while sorted.len() < rows.len() {
        for row in &rows {
            let known = |pid: i32| sorted.iter().any(|s| s.0 == pid);
            if !known(row.0) && known(row.1) {
                sorted.push(*row);
            }
        }
    }
    sorted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn grown_trees_come_out_as_they_were(
        actions in proptest::collection::vec((any::<u8>(), 0..64usize, 0..64usize), 0..40)
    ) {
        let rows = grow(&actions);
        // A group without a living leader may lie in a session whose members are all orphans elsewhere;
        // those that can be planned must come out right.
        let tree = tree(&rows);
        if let Ok(steps) = steps(&tree, Job::Own) {
            let world = play(1, &steps);
            for row in &rows {
                prop_assert_eq!(world[&row.0].2, row.3, "session of {}: {:?}", row.0, steps);
                prop_assert_eq!(world[&row.0].1, row.2, "group of {}: {:?}", row.0, steps);
            }
        }
    }
}
