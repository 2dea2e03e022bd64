//! The blanks of a tree: their births, and what they are given together.

use std::collections::{BTreeMap, HashMap};

use stasis_model::{NsPid, Process, State, Tree};
use stasis_objects::{Thawing, descriptor, file_lock, segment, signal, terminal};
use stasis_plan::Step;
use stasis_tracee::{Batch, Birth, Blank, Channel};

use crate::{facade::Error, memory::Memories, processor::OneProcessor, root::taken};

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

    /// Makes all processes.
    pub fn play(
        &mut self,
        steps: &[Step],
        (tree, terminals, channel): (&Tree, &terminal::Opened, &Channel),
        (memories, thawing): (&mut Memories<'_>, &mut Thawing<'_>),
    ) -> Result<(), Error> {
        const PRCTL: i64 = 157;
        const PR_SET_CHILD_SUBREAPER: i32 = 36;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            let count = match *step {
                Step::Bear { parent, .. } => {
                    memories.lend(self.blank(parent)?, thawing)?;
                    self.bear_many(parent, rest, memories)?
                }
                Step::BearSibling { elder, child } => {
                    let birth =
                        Birth { own_pid: child.0, shares_descriptors: false, as_sibling: true };
                    memories.lend(self.blank(elder)?, thawing)?;
                    self.bear(elder, &[birth], memories)?;
                    1
                }
                Step::LeadSession { pid } => {
                    const SETSID: i64 = 112;
                    // The init of a container leads a session already.
                    if self.blank(pid)?.proc().stat()?.session != self.blank(pid)?.pid() {
                        self.call(pid, "setsid", SETSID, [0, 0])?;
                    }
                    // Whoever it bears from now on inherits its terminal.
                    terminals.control(tree, pid, self.blank(pid)?, channel)?;
                    1
                }
                Step::JoinGroup { pid, group } => {
                    const SETPGID: i64 = 109;
                    self.call(pid, "setpgid", SETPGID, [0, group.0])?;
                    1
                }
                Step::EndHelper { pid, parent } => {
                    self.end_helper(pid, parent)?;
                    1
                }
                Step::Adopt { pid } => {
                    self.call(pid, "prctl", PRCTL, [PR_SET_CHILD_SUBREAPER, 1])?;
                    1
                }
                Step::StopAdopting { pid } => {
                    self.call(pid, "prctl", PRCTL, [PR_SET_CHILD_SUBREAPER, 0])?;
                    1
                }
            };
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Births of one parent that follow each other are one batch.
    fn bear_many(
        &mut self,
        parent: NsPid,
        steps: &[Step],
        memories: &mut Memories<'_>,
    ) -> Result<usize, Error> {
        const MOST: usize = 1000;
        let births: Vec<Birth> = steps
            .iter()
            .take(MOST)
            .map_while(|step| match *step {
                Step::Bear { parent: other, child, shares_descriptors } if other == parent => {
                    Some(Birth { own_pid: child.0, shares_descriptors, as_sibling: false })
                }
                _ => None,
            })
            .collect();
        self.bear(parent, &births, memories)?;
        Ok(births.len())
    }

    fn bear(
        &mut self,
        bearer: NsPid,
        births: &[Birth],
        memories: &mut Memories<'_>,
    ) -> Result<(), Error> {
        let first = births.first().map_or(0, |birth| birth.own_pid);
        let born = self.blank(bearer)?.bear(births).map_err(|error| taken(error, first))?;
        births.iter().for_each(|birth| memories.born(bearer, NsPid(birth.own_pid)));
        self.blanks.extend(born.into_iter().map(|blank| (blank.own_pid(), blank)));
        Ok(())
    }

    fn call(
        &mut self,
        pid: NsPid,
        name: &'static str,
        number: i64,
        arguments: [i32; 2],
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.call(name, number, arguments.map(Into::into));
        self.blank(pid)?.run(&batch)?;
        Ok(())
    }

    fn end_helper(&mut self, pid: NsPid, parent: NsPid) -> Result<(), Error> {
        const WAIT4: i64 = 61;
        const WALL: u32 = 0x4000_0000;
        if let Some(helper) = self.blanks.remove(&pid.0) {
            helper.kill()?;
        }
        let mut batch = Batch::new();
        batch.call("wait4", WAIT4, [pid.0.into(), 0.into(), WALL.into(), 0.into()]);
        signal::flush_child_signals(&mut batch);
        self.blank(parent)?.run(&batch)?;
        Ok(())
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
                if let Some(blank) = self.blanks.remove(&process.pid.0) {
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
            let Some(blank) = self.blanks.remove(&process.pid.0) else { continue };
            let frozen = process.live().into_iter().flat_map(|live| &live.threads);
            for (thread, frozen) in blank.threads().iter().zip(frozen) {
                if frozen.scheduling.processors.is_none() {
                    processor.inspect(|processor| processor.let_out(thread.tid()));
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
