//! The first blank, which all others are born of, and the channel to all of them.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
};

use stasis_model::{FdNumber, Process, Tree};
use stasis_objects::{address_space, thread};
use stasis_tracee::{Batch, Birth, Blank, Channel, FootholdPlan, Seed};

use crate::{
    facade::{Error, RestoreRoot},
    family::live_processes,
    morph, namespaces,
    processor::OneProcessor,
};

/// Makes the first blank with the root's pid, and the channel that all will inherit.
pub fn make_root(
    tree: &Tree,
    inherited: &BTreeMap<String, i32>,
    how: RestoreRoot<'_>,
    processor: Option<&OneProcessor>,
) -> Result<(Blank, Channel, HashMap<String, OwnedFd>), Error> {
    let root_pid = tree.root().pid.0;
    let (seed, is_new) = match how {
        RestoreRoot::New => (Seed::spawn()?, true),
        RestoreRoot::Waiting { pid, release } => {
            let seed = Seed::catch(pid, release)?;
            processor.inspect(|processor| processor.take_in(pid));
            (seed, false)
        }
    };
    let plan = plan_foothold(tree, &seed)?;
    let mut first = seed.settle(plan)?;
    let mut given = HashMap::new();
    for (key, fd) in inherited {
        given.insert(key.clone(), first.take_fd(*fd)?);
    }
    raise_descriptor_limit(&first);
    let number = free_number(tree, &first)?;
    let channel = first.open_channel(number)?;
    empty(&mut first, tree, number)?;
    if !is_new {
        if first.own_pid() != root_pid {
            return Err(Error::Failed(format!(
                "the container's init has pid {} and the checkpoint's root {root_pid}",
                first.own_pid()
            )));
        }
        return Ok((first, channel, given));
    }
    let birth = Birth { own_pid: root_pid, shares_descriptors: false, as_sibling: true };
    let born = first.bear(&[birth]).map_err(|error| taken(error, root_pid))?.pop();
    Seed::kill_after(first)?;
    let mut root = born.ok_or_else(|| Error::Failed("the root was not born".into()))?;
    namespaces::thaw(tree, &mut root)?;
    Ok((root, channel, given))
}

/// Takes from the first blank what it has and none shall be born with: descriptors but for that of the channel, its
/// program and its stack. The vDSO comes to the place that it has in most processes.
fn empty(first: &mut Blank, tree: &Tree, channel: i32) -> Result<(), Error> {
    let mut batch = Batch::new();
    morph::close_all_but(channel, &mut batch);
    if let Some(root) = tree.root().live() {
        let (present, keep) = (first.proc().maps()?, [first.plan().range()]);
        address_space::clear(&root.memory, &present, &keep, &mut batch)?;
    }
    first.run(&batch)?;
    Ok(())
}

/// A birth that failed because somebody else has the pid by now.
pub fn taken(error: stasis_tracee::Error, pid: i32) -> Error {
    let is_taken =
        matches!(&error, stasis_tracee::Error::Kernel { errno: stasis_sys::Errno::EXIST, .. });
    if !is_taken {
        return error.into();
    }
    // It was free a moment ago.
    Error::Failed(format!("pid {pid} was taken meanwhile; try again, or restore in a container"))
}

const RLIMIT_NOFILE: u32 = 7;

/// Blanks need numbers for descriptors that may be higher than our own limit.
fn raise_descriptor_limit(blank: &Blank) {
    let Ok(limits) = blank.proc().parse("limits", stasis_proctext::limits::parse) else { return };
    let hard = limits[RLIMIT_NOFILE as usize].1;
    // Without success a high number is refused where it is used.
    let _ = stasis_sys::process::set_limit(blank.pid(), RLIMIT_NOFILE, hard, hard);
}

fn plan_foothold(tree: &Tree, seed: &Seed) -> Result<FootholdPlan, Error> {
    let vmas = live_processes(tree).filter_map(Process::live).flat_map(|live| &live.memory.vmas);
    let taken: Vec<_> = vmas.map(|vma| vma.range.clone()).chain(seed.memory()?).collect();
    let most = live_processes(tree).filter_map(Process::live).map(|live| live.threads.len()).max();
    let largest = live_processes(tree)
        .filter_map(Process::live)
        .flat_map(|live| {
            let share_filters = thread::share_filters(live);
            let others = live.threads.iter().skip(1);
            others.map(move |frozen| thread::len_bytes(tree, frozen, share_filters))
        })
        .max();
    FootholdPlan::find(taken, most.unwrap_or(1), largest.unwrap_or(0))
        .ok_or_else(|| Error::Failed("no room for the foothold in the processes' memory".into()))
}

/// A number that no process of the tree uses for a descriptor, below the blank's own limit.
fn free_number(tree: &Tree, blank: &Blank) -> Result<i32, Error> {
    /// Tables with no higher number are small, and each process is born with a copy.
    const WISHED: i32 = 63;
    let limits = blank.proc().parse("limits", stasis_proctext::limits::parse)?;
    let limit = i32::try_from(limits[RLIMIT_NOFILE as usize].0).unwrap_or(i32::MAX);
    let is_free = |number: &i32| {
        let fd = FdNumber(*number);
        *number < limit && tree.tables.values().all(|table| !table.descriptors.contains_key(&fd))
    };
    let tried = (0..=WISHED).rev().chain(WISHED + 1..limit);
    tried.into_iter().find(is_free).ok_or_else(|| {
        Error::Failed(format!("no descriptor number below the limit of {limit} is free"))
    })
}
