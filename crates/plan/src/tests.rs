use proptest::prelude::*;
use stasis_model::{
    AddressSpace, FsContext, IntervalTimer, Live, NsPid, Process, SignalAction, State, TableId,
    Tree,
};

use crate::{Job, Step, steps};

/// pid, parent, group, session
type Row = (i32, i32, i32, i32);

pub(crate) fn tree(rows: &[Row]) -> Tree {
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

pub(crate) fn live(pid: i32) -> Live {
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

/// Plans; the outcome is checked against the tree by the planner itself.
fn plan(rows: &[Row], job: Job) -> Result<Vec<Step>, crate::Impossible> {
    steps(&tree(rows), job, &|_| false)
}

fn check(rows: &[Row]) {
    if let Err(error) = plan(rows, Job::Own) {
        panic!("{error}: {rows:?}");
    }
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
    let rows = [(10, 0, 9, 8), (11, 10, 9, 8), (12, 10, 12, 8)];
    assert!(plan(&rows, Job::Own).is_err());
    let steps = plan(&rows, Job::Shell).unwrap();
    assert!(steps.iter().all(|step| !matches!(step, Step::LeadSession { .. })));
    assert!(steps.contains(&Step::JoinGroup { pid: NsPid(12), group: NsPid(12) }));
}

#[test]
fn nobody_joins_the_group_that_it_is_born_in() {
    let steps = plan(&[(1, 0, 1, 1), (2, 1, 1, 1), (3, 2, 3, 1), (4, 3, 1, 1)], Job::Own).unwrap();
    let joins = steps.iter().filter(|step| matches!(step, Step::JoinGroup { .. }));
    assert_eq!(joins.collect::<Vec<_>>(), [&Step::JoinGroup { pid: NsPid(3), group: NsPid(3) }]);
}

#[test]
fn a_founder_who_has_left_its_group() {
    check(&[(1, 0, 1, 1), (2, 1, 4, 1), (3, 1, 2, 1), (4, 1, 4, 1)]);
}

#[test]
fn two_leaders_born_in_a_session_whose_leader_is_gone() {
    check(&[(1, 0, 1, 1), (11, 1, 11, 11), (12, 1, 12, 12), (13, 11, 9, 9), (14, 12, 9, 9)]);
}

#[test]
fn a_dead_session_below_a_subreaper_and_above_it() {
    check(&[(1, 0, 1, 1), (2, 1, 1, 1), (13, 2, 9, 9), (14, 1, 9, 9), (15, 13, 9, 9)]);
}

#[test]
fn what_no_history_leads_to_is_refused() {
    // 3 is in the session of its grandparent, but its parent has always been in another one.
    let rows = [(1, 0, 1, 1), (5, 1, 5, 5), (2, 5, 1, 1), (3, 2, 5, 5)];
    assert!(matches!(plan(&rows, Job::Own), Err(crate::Impossible::Unreachable { .. })));
}

#[test]
fn descriptor_tables_are_shared_from_parent_to_child_only() {
    let mut shared = tree(&[(1, 0, 1, 1), (2, 1, 1, 1), (3, 1, 1, 1)]);
    let set = |tree: &mut Tree, at: usize, table| {
        tree.processes[at].live_mut().unwrap().descriptors = TableId(table);
    };
    set(&mut shared, 1, 1);
    let steps_of = |tree: &Tree| steps(tree, Job::Own, &|_| false);
    assert!(steps_of(&shared).is_ok());
    set(&mut shared, 1, 9);
    set(&mut shared, 2, 9);
    assert!(matches!(steps_of(&shared), Err(crate::Impossible::Differs { pid: NsPid(3), .. })));
}

/// A process of [`grow`].
#[derive(Clone, Copy, Debug)]
struct Grown {
    row: Row,
    reaper: bool,
    dead: bool,
}

/// Grows a tree as processes do: fork, setsid, setpgid, exit (with and without being waited for), and
/// becoming a subreaper.
fn grow(actions: &[(u8, usize, usize)]) -> Vec<Row> {
    let mut all = vec![Grown { row: (1, 0, 1, 1), reaper: true, dead: false }];
    let mut next = 2;
    for (action, who, other) in actions {
        let index = who % all.len();
        let Grown { row: (pid, _, group, session), dead, .. } = all[index];
        if dead {
            continue;
        }
        match action % 8 {
            0..=2 => {
                all.push(Grown { row: (next, pid, group, session), reaper: false, dead: false });
                next += 1;
            }
            3 if pid != 1 && all.iter().all(|one| one.row.2 != pid) => {
                (all[index].row.2, all[index].row.3) = (pid, pid);
            }
            4 if pid != 1 && session != pid => {
                let target = all[other % all.len()].row;
                all[index].row.2 = if target.3 == session { target.2 } else { pid };
            }
            5 => all[index].reaper = true,
            6 | 7 if pid != 1 && other % 3 == 0 => {
                orphan(&mut all, pid);
                match action % 8 {
                    6 => all[index].dead = true,
                    _ => drop(all.remove(index)),
                }
            }
            _ => {}
        }
    }
    sorted(all.into_iter().map(|one| one.row).collect())
}

/// Gives the children of one that ends to its nearest subreaper.
fn orphan(all: &mut [Grown], pid: i32) {
    let find = |pid: i32| *all.iter().find(|one| one.row.0 == pid).unwrap();
    let mut reaper = find(find(pid).row.1);
    while !reaper.reaper {
        reaper = find(reaper.row.1);
    }
    for one in all.iter_mut().filter(|one| one.row.1 == pid) {
        one.row.1 = reaper.row.0;
    }
}

/// Parents before their children.
fn sorted(rows: Vec<Row>) -> Vec<Row> {
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
    #![proptest_config(ProptestConfig::with_cases(20000))]
    #[test]
    fn grown_trees_come_out_as_they_were(
        actions in proptest::collection::vec((any::<u8>(), 0..64usize, 0..64usize), 0..80)
    ) {
        check(&grow(&actions));
    }
}
