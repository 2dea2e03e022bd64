//! Morphing one blank with its memory into the process that was frozen.

use stasis_model::{Live, Process, SignalMask, Thread, Tree};
use stasis_objects::{
    process::{self, BornWith},
    signal,
    thread::{self, Filters},
};
use stasis_sys::ptrace::UserRegs;
use stasis_tracee::{Batch, Blank, Channel, Newborn};

use crate::{facade::Error, root::taken};

/// Empties the table of descriptors but for one.
pub fn close_all_but(keep: i32, batch: &mut Batch) {
    const CLOSE_RANGE: i64 = 436;
    if keep > 0 {
        batch.call("close_range", CLOSE_RANGE, [0.into(), (keep - 1).into(), 0.into()]);
    }
    batch.call("close_range", CLOSE_RANGE, [(keep + 1).into(), u32::MAX.into(), 0.into()]);
}

/// What the threads of a process become.
pub struct Threads<'a> {
    tree: &'a Tree,
    live: &'a Live,
    born_with: &'a BornWith,
    share_filters: bool,
}

impl<'a> Threads<'a> {
    pub fn of(tree: &'a Tree, live: &'a Live, born_with: &'a BornWith) -> Self {
        Threads { tree, live, born_with, share_filters: thread::share_filters(live) }
    }

    /// All but the leader, and what each does when it is born.
    pub fn newborns(&self) -> Vec<Newborn> {
        self.live.threads.iter().skip(1).map(|frozen| self.newborn(frozen)).collect()
    }

    fn newborn(&self, frozen: &Thread) -> Newborn {
        let mut batch = Batch::new();
        thread::thaw(frozen, &mut batch);
        let mut sleep = None;
        // Under filters of their own they would make no further call unless we suspended them.
        if self.share_filters {
            self.add_rights(frozen, &mut batch);
            sleep = thread::thaw_sleep(frozen, &mut batch);
        }
        Newborn { own_tid: frozen.tid.0, batch, sleep }
    }

    /// Gives a process its further threads, and each thread what is its own.
    pub fn thaw(
        &self,
        newborns: &[Newborn],
        blank: &mut Blank,
        channel: &Channel,
    ) -> Result<(), Error> {
        if !newborns.is_empty() {
            blank.bear_threads(newborns).map_err(|error| match error {
                stasis_tracee::Error::Kernel { pid, .. } => taken(error, pid),
                error => error.into(),
            })?;
        }
        // With the filters for all of them.
        blank.run(&self.of_leader(channel))?;
        if !self.share_filters {
            let batch = |frozen: &Thread| {
                let mut batch = Batch::new();
                self.add_rights(frozen, &mut batch);
                batch
            };
            let batches: Vec<Batch> = self.live.threads.iter().skip(1).map(batch).collect();
            blank.run_in_others(&batches)?;
        }
        Ok(())
    }

    fn of_leader(&self, channel: &Channel) -> Batch {
        const CLOSE: i64 = 3;
        let leader = self.live.leader();
        let mut batch = Batch::new();
        // Where a table is shared, another process was quicker.
        batch.try_call("close", CLOSE, [channel.remote_fd().into()]);
        signal::flush_child_signals(&mut batch);
        thread::thaw(leader, &mut batch);
        self.add_rights(leader, &mut batch);
        process::thaw_last(self.live, leader.tid.0, &mut batch);
        batch
    }

    /// Adds filters and credentials, and signals that wait for the thread.
    fn add_rights(&self, frozen: &Thread, batch: &mut Batch) {
        let leader = self.live.leader().tid;
        let filters = match (self.share_filters, frozen.tid == leader) {
            (false, _) => Filters::Own,
            (true, true) => Filters::OfAll,
            (true, false) => Filters::ByLeader,
        };
        thread::thaw_rights(self.tree, frozen, filters, &self.born_with.credentials, batch);
        signal::thaw_pending(&frozen.pending, leader.0, Some(frozen.tid.0), batch);
    }
}

/// Takes our pages out of a process that has everything else.
pub fn leave(blank: &mut Blank, live: &Live, born_with: &BornWith) -> Result<(), Error> {
    let regs = thread::thaw_registers(blank, &live.threads, &born_with.extended_state)?;
    let masks = live.threads.iter().map(|thread| thread.blocked);
    let ends: Vec<(UserRegs, SignalMask)> = regs.into_iter().zip(masks).collect();
    blank.take_leave(&ends)?;
    Ok(())
}

/// Stops a process that job control had stopped.
pub fn stop(blank: &Blank, process: &Process) -> Result<(), Error> {
    if let stasis_model::State::Live { stopped_by: Some(_), live } = &process.state {
        blank.stop_by_job_control(live.leader().blocked)?;
    }
    Ok(())
}
