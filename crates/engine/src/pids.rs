//! Whether the ids that a restore needs are free.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags};
use stasis_model::{Process, Tree};
use stasis_plan::Step;
use stasis_tracee::ProcDir;

use crate::facade::Error;

/// The dead of a moment ago may still hold ids, until their parents have collected them.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Whether an id is that of a process, thread, group or session.
pub fn is_taken(id: i32) -> bool {
    let Some(pid) = Pid::from_raw(id) else { return true };
    // A number that leads to no process but to a thread, group or session gives another error.
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).err() != Some(rustix::io::Errno::SRCH)
}

/// The ids of all processes and threads that a restore makes, helpers among them.
pub fn needed(tree: &Tree, steps: &[Step]) -> BTreeSet<i32> {
    let threads = tree.processes.iter().filter_map(Process::live).flat_map(|live| &live.threads);
    let pids = tree.processes.iter().map(|process| process.pid);
    let born = steps.iter().filter_map(|step| match *step {
        Step::Bear { child, .. } | Step::BearSibling { child, .. } => Some(child),
        Step::LeadSession { .. }
        | Step::JoinGroup { .. }
        | Step::EndHelper { .. }
        | Step::Adopt { .. }
        | Step::StopAdopting { .. } => None,
    });
    threads.map(|thread| thread.tid).chain(pids).chain(born).map(|id| id.0).collect()
}

/// Waits until all these ids are free.
///
/// # Errors
/// [`Error::Failed`] naming everybody who holds one and does not look as if he were about to go.
pub fn wait_until_free(ids: &BTreeSet<i32>) -> Result<(), Error> {
    let mut taken: BTreeSet<i32> = ids.iter().copied().filter(|id| is_taken(*id)).collect();
    let since = Instant::now();
    while !taken.is_empty() {
        let holders = holders(&taken);
        if since.elapsed() > PATIENCE || holders.iter().any(|holder| !holder.is_dead) {
            return Err(told(&taken, &holders));
        }
        sleep(LOOK_AGAIN);
        taken.retain(|id| is_taken(*id));
    }
    Ok(())
}

/// Somebody who has one of the ids.
struct Holder {
    id: i32,
    how: String,
    is_dead: bool,
}

fn holders(taken: &BTreeSet<i32>) -> Vec<Holder> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| holds(pid, taken)).flatten().collect()
}

/// Ids that a process holds.
fn holds(pid: i32, taken: &BTreeSet<i32>) -> Option<Vec<Holder>> {
    let proc = ProcDir::open(pid).ok()?;
    let stat = proc.stat().ok()?;
    let name = String::from_utf8_lossy(&stat.name).into_owned();
    let threads = proc.threads().unwrap_or_default();
    let is_dead = matches!(stat.state, b'Z' | b'X') && threads.len() <= 1;
    let state = if is_dead { ", which has ended and was not collected by its parent" } else { "" };
    let held = |id: i32, as_what: &str| {
        let how = format!("{as_what} process {pid} (\"{name}\"){state}");
        taken.contains(&id).then_some(Holder { id, how, is_dead })
    };
    let groups = [(stat.group, "the group of"), (stat.session, "the session of")];
    let groups = groups.into_iter().filter(|(id, _)| *id != pid);
    let threads = threads.into_iter().filter(|tid| *tid != pid).map(|tid| (tid, "a thread of"));
    let all = std::iter::once((pid, "")).chain(groups).chain(threads);
    Some(all.filter_map(|(id, as_what)| held(id, as_what)).collect())
}

fn told(taken: &BTreeSet<i32>, holders: &[Holder]) -> Error {
    let mut lines = Vec::new();
    for id in taken {
        let of_id: Vec<&Holder> = holders.iter().filter(|holder| holder.id == *id).collect();
        if of_id.is_empty() {
            lines.push(format!("\n  pid {id} is taken by somebody who is not to be seen"));
        }
        lines
            .extend(of_id.iter().map(|h| format!("\n  pid {id} is taken: {}", h.how.trim_start())));
    }
    Error::Failed(format!(
        "{} of the pids are not free; wait for the end of those who have them, \
         or restore in a container, where pids are never taken{}",
        taken.len(),
        lines.concat()
    ))
}
