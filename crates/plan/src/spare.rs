//! Pids for processes that are only needed on the way.

use std::collections::BTreeSet;

use stasis_model::{NsPid, Process, Tree};

/// Largest id that the kernel ever gives.
const MAX_PID: i32 = (1 << 22) - 1;

/// Ids that nobody in the tree has or refers to.
pub(crate) struct SparePids<'a> {
    used: BTreeSet<NsPid>,
    is_taken: &'a dyn Fn(NsPid) -> bool,
}

impl<'a> SparePids<'a> {
    pub fn of(tree: &Tree, is_taken: &'a dyn Fn(NsPid) -> bool) -> Self {
        let live = tree.processes.iter().filter_map(Process::live);
        let threads = live.flat_map(|live| &live.threads).map(|thread| thread.tid);
        let ids = tree.processes.iter().flat_map(|p| [p.pid, p.group, p.session]);
        SparePids { used: threads.chain(ids).collect(), is_taken }
    }

    /// One that is free as long as nobody takes it.
    pub fn next(&self) -> NsPid {
        let highest = self.used.last().map_or(1, |pid| pid.0);
        let mut tried = (highest.saturating_add(1)..=MAX_PID).chain(2..highest).map(NsPid);
        let is_free = |pid: &NsPid| !self.used.contains(pid) && !(self.is_taken)(*pid);
        // Without any, the birth fails and says so.
        tried.find(is_free).unwrap_or(NsPid(MAX_PID))
    }

    /// One that is kept.
    pub fn take(&mut self) -> NsPid {
        let pid = self.next();
        self.used.insert(pid);
        pid
    }
}
