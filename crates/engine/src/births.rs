//! Births: the steps of a plan, played with blanks.

use stasis_model::{NsPid, Tree};
use stasis_objects::{Thawing, signal, terminal};
use stasis_plan::Step;
use stasis_tracee::{Batch, Birth, Channel};

use crate::{facade::Error, family::Family, memory::Memories, root::taken};

/// What takes part in births.
pub struct Births<'a, 'm, 't> {
    pub tree: &'a Tree,
    pub terminals: &'a terminal::Opened,
    pub channel: &'a Channel,
    pub family: &'a mut Family,
    pub memories: &'a mut Memories<'m>,
    pub thawing: &'a mut Thawing<'t>,
}

impl Births<'_, '_, '_> {
    /// Makes all processes.
    pub fn play(mut self, steps: &[Step]) -> Result<(), Error> {
        const PRCTL: i64 = 157;
        const PR_SET_CHILD_SUBREAPER: i32 = 36;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            let count = match *step {
                Step::Bear { parent, .. } => self.bear_many(parent, rest)?,
                Step::BearSibling { elder, child } => {
                    let birth =
                        Birth { own_pid: child.0, shares_descriptors: false, as_sibling: true };
                    self.bear(elder, &[birth])?;
                    1
                }
                Step::LeadSession { pid } => {
                    const SETSID: i64 = 112;
                    // The init of a container leads a session already.
                    if self.family.blank(pid)?.proc().stat()?.session
                        != self.family.blank(pid)?.pid()
                    {
                        self.call(pid, "setsid", SETSID, [0, 0])?;
                    }
                    // Whoever it bears from now on inherits its terminal.
                    self.terminals.control(
                        self.tree,
                        pid,
                        self.family.blank(pid)?,
                        self.channel,
                    )?;
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
    fn bear_many(&mut self, parent: NsPid, steps: &[Step]) -> Result<usize, Error> {
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
        self.bear(parent, &births)?;
        Ok(births.len())
    }

    fn bear(&mut self, bearer: NsPid, births: &[Birth]) -> Result<(), Error> {
        self.memories.lend(self.family.blank(bearer)?, self.thawing)?;
        let first = births.first().map_or(0, |birth| birth.own_pid);
        let born = self.family.blank(bearer)?.bear(births).map_err(|error| taken(error, first))?;
        self.family.add(born);
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
        self.family.blank(pid)?.run(&batch)?;
        Ok(())
    }

    fn end_helper(&mut self, pid: NsPid, parent: NsPid) -> Result<(), Error> {
        const WAIT4: i64 = 61;
        const WALL: u32 = 0x4000_0000;
        if let Some(helper) = self.family.take(pid) {
            helper.kill()?;
        }
        let mut batch = Batch::new();
        batch.call("wait4", WAIT4, [pid.0.into(), 0.into(), WALL.into(), 0.into()]);
        signal::flush_child_signals(&mut batch);
        self.family.blank(parent)?.run(&batch)?;
        Ok(())
    }
}
