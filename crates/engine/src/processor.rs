//! One processor for a whole restore, and for the freezing of a checkpoint.
//!
//! A blank that stands on another processor must wake that one for each batch, and wake us when it is
//! through: several times the cost of the batch itself, most of all on a virtual machine whose idle
//! processors sleep. So we and the blanks stay on one processor, and only those with much memory to
//! read are let go where there is room. In the end all have what they would have inherited. A task under
//! checkpoint gets back what it had ([`stasis_tracee::Patient::stay_on`]).

use rustix::{process::Pid, thread::CpuSet};
use stasis_model::{Live, Process, Tree};
use stasis_objects::scheduling;
use stasis_tracee::{FEW, every_processor};

/// Whether a process has so many threads that they are born and do their part on whichever processor is free.
pub fn is_spread(live: &Live) -> bool {
    live.threads.len() >= FEW
}

/// Whether there is such a process.
pub fn has_spread(tree: &Tree) -> bool {
    tree.processes.iter().filter_map(Process::live).any(is_spread)
}

/// Whether half of the processors have nothing to do. Where there is work for all, tasks that are bound to one would
/// wait for their turn there, and nobody sleeps who must be woken. To be asked before threads of ours run.
pub fn are_idle() -> bool {
    let running = std::fs::read("/proc/loadavg")
        .ok()
        .and_then(|text| stasis_proctext::loadavg::running(&text).ok());
    running.is_some_and(|running| running <= scheduling::nr_online() / 2)
}

/// Holds us on the processor on which we run, and with us whoever is born of us.
#[derive(Debug)]
pub struct OneProcessor {
    before: CpuSet,
    number: usize,
    held: CpuSet,
    /// What tasks get in the end. Who may run everywhere is bound to nothing: processors may be added later.
    inherited: CpuSet,
}

impl OneProcessor {
    /// `None` if the kernel does not let us; then everything takes longer.
    pub fn hold() -> Option<Self> {
        let before = rustix::thread::sched_getaffinity(None).ok()?;
        let inherited = if scheduling::is_everywhere(&before) { every_processor() } else { before };
        let number = rustix::thread::sched_getcpu();
        let mut held = CpuSet::new();
        held.set(number);
        rustix::thread::sched_setaffinity(None, &held).ok()?;
        Some(OneProcessor { before, number, held, inherited })
    }

    /// The number of the processor.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Takes in a task that was not born of us.
    pub fn take_in(&self, tid: i32) {
        allow(tid, &self.held);
    }

    /// The others that we might use, if there are any.
    pub fn others(&self) -> Option<CpuSet> {
        let mut others = self.before;
        others.unset(self.number);
        (others.count() > 0).then_some(others)
    }

    /// Lets the calling thread of ours, which works beside, run on the others that we might use. Merely
    /// allowed to, it would stay in our way until some tick of the clock.
    pub fn let_me_out(&self) {
        go_to(&self.others().unwrap_or(self.before));
    }

    /// Sends a task to the others, from where it may come back.
    pub fn push_out(&self, tid: i32) {
        self.send_out(tid);
        allow(tid, &self.before);
    }

    /// Sends a task to the others, so that it does not wait while we work.
    pub fn send_out(&self, tid: i32) {
        allow(tid, &self.others().unwrap_or(self.held));
    }

    /// Lets a task run where it would if nothing had been held.
    pub fn let_out(&self, tid: i32) {
        allow(tid, &self.inherited);
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        go_to(&self.before);
    }
}

/// Moves the calling thread, if the kernel lets it.
fn go_to(processors: &CpuSet) {
    let _ = rustix::thread::sched_setaffinity(None, processors);
}

/// A task that has ended, or may not be moved, stays where it is.
fn allow(tid: i32, processors: &CpuSet) {
    let _ = rustix::thread::sched_setaffinity(Pid::from_raw(tid), processors);
}
