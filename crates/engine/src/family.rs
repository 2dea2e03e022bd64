//! The blanks of a tree, and what they are given together.

use std::collections::{BTreeMap, HashMap};

use stasis_model::{NsPid, Process, State, Tree};
use stasis_objects::{Thawing, descriptor, file_lock, segment, terminal};
use stasis_tracee::{Batch, Blank, Channel};

use crate::{
    facade::Error,
    processor::{self, OneProcessor},
};

/// All blanks by their own pids.
pub struct Family {
    blanks: BTreeMap<i32, Blank>,
}

/// Those that are to become processes that run on.
pub fn live_processes(tree: &Tree) -> impl Iterator<Item = &Process> {
    tree.processes.iter().filter(|process| process.live().is_some())
}

impl Family {
    pub fn of(root: Blank) -> Self {
        Family { blanks: BTreeMap::from([(root.own_pid(), root)]) }
    }

    pub fn blank(&mut self, pid: NsPid) -> Result<&mut Blank, Error> {
        self.blanks
            .get_mut(&pid.0)
            .ok_or_else(|| Error::Failed(format!("process {pid} was not born")))
    }

    /// From the ids that tasks see to those that we see.
    pub fn host_ids(&self) -> HashMap<i32, i32> {
        let threads = self.blanks.values().flat_map(Blank::threads);
        threads.map(|thread| (thread.own_tid(), thread.tid())).collect()
    }

    pub fn add(&mut self, born: Vec<Blank>) {
        self.blanks.extend(born.into_iter().map(|blank| (blank.own_pid(), blank)));
    }

    pub fn take(&mut self, pid: NsPid) -> Option<Blank> {
        self.blanks.remove(&pid.0)
    }

    /// Opens what only a process of a session can, and puts groups in the foreground.
    pub fn give_terminals(
        &mut self,
        tree: &Tree,
        channel: &Channel,
        thawing: &mut Thawing,
        terminals: &mut terminal::Opened,
    ) -> Result<(), Error> {
        let root = tree.root().pid;
        let leader = |session: NsPid| {
            tree.process(session).filter(|process| process.live().is_some()).map_or(root, |p| p.pid)
        };
        for foreground in terminals.foregrounds(tree) {
            let blank = self.blank(leader(foreground.session))?;
            terminals.set_foreground(foreground, blank, channel)?;
        }
        for (file, session) in terminal::controlling_files(tree) {
            let blank = self.blank(session.map_or(root, leader))?;
            terminal::thaw_controlling(file, blank, channel, thawing)?;
        }
        terminals.hand_over(thawing);
        Ok(())
    }

    /// Gives all tables their descriptors, and what hangs on open files.
    pub fn give_files(
        &mut self,
        tree: &Tree,
        channel: &Channel,
        thawing: &mut Thawing,
    ) -> Result<(), Error> {
        let used = tree.tables.values().flat_map(|table| table.descriptors.values());
        let root = tree.root().pid;
        for descriptor in used {
            descriptor::thaw_file(descriptor.file, thawing, self.blank(root)?)?;
        }
        let mut filled = Vec::new();
        let mut watched = Vec::new();
        for process in live_processes(tree) {
            let live = process.live().expect("live processes only");
            if filled.contains(&live.descriptors) {
                continue;
            }
            filled.push(live.descriptors);
            let table = &tree.tables[&live.descriptors];
            let blank = self.blank(process.pid)?;
            descriptor::thaw_table(table, blank, channel, thawing)?;
            let mut batch = Batch::new();
            descriptor::thaw_watches(table, (thawing, channel), &mut watched, &mut batch);
            if !batch.is_empty() {
                blank.run(&batch)?;
            }
        }
        segment::seal(thawing)?;
        for lock in &tree.locks {
            file_lock::thaw(lock, thawing, self.blank(lock.owner)?)?;
        }
        Ok(())
    }

    /// Lets those end that had ended but were not waited for.
    pub fn end_zombies(&mut self, tree: &Tree) -> Result<(), Error> {
        for process in &tree.processes {
            if let State::Zombie { wait_status } = process.state {
                let mut batch = Batch::new();
                name(&process.name, &mut batch);
                self.blank(process.pid)?.run(&batch)?;
                if let Some(blank) = self.take(process.pid) {
                    blank.end_as_zombie(wait_status)?;
                }
            }
        }
        Ok(())
    }

    /// Lets all go together.
    pub fn let_go(mut self, tree: &Tree, processor: Option<&OneProcessor>) -> Result<(), Error> {
        // Children before their parents, who may wait for them.
        for process in tree.processes.iter().rev() {
            let Some(blank) = self.take(process.pid) else { continue };
            if let Some((processor, live)) = processor.zip(process.live()) {
                let held = if processor::is_spread(live) { 1 } else { live.threads.len() };
                for (thread, frozen) in blank.threads().iter().zip(&live.threads).take(held) {
                    if frozen.scheduling.processors.is_none() {
                        processor.let_out(thread.tid());
                    }
                }
            }
            blank.let_go()?;
        }
        Ok(())
    }
}

fn name(name: &[u8], batch: &mut Batch) {
    const PRCTL: i64 = 157;
    const PR_SET_NAME: i32 = 15;
    let text = batch.text(&name[..name.len().min(15)]);
    batch.call("prctl(PR_SET_NAME)", PRCTL, [PR_SET_NAME.into(), text.into()]);
}
