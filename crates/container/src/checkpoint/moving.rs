//! The checkpoint of a container that is on its way to another host: rounds of its memory, and what
//! belongs to the last instant. Nothing of it outlives the command, so nothing is synced.

use std::{io::Write, path::PathBuf};

use stasis_engine::{Parents, Previous, Report, Since, Tracking};

use super::{
    Compression, LeftOut, Stored,
    archive::write_files,
    layout::{CONFIG, IMAGES},
    manifest,
    rounds::{Lies, Round, Rounds},
    stage::Stage,
};
use crate::{attach::Session, error::Result, record, state::State, store::Container};

/// What the checkpoint is called as long as there is one.
const NAME: &str = "migration";

/// What is on its way; nothing is left of it here.
pub(crate) struct Moving<'a> {
    container: &'a Container,
    state: &'a State,
    stage: Stage,
    /// The youngest first.
    rounds: Vec<Round>,
}

impl<'a> Moving<'a> {
    pub fn begin(container: &'a Container, state: &'a State) -> Result<Moving<'a>> {
        // It is never finished, and goes with its stage.
        let stage = container.stage(NAME, Some(&container.place.dir))?;
        Ok(Moving { container, state, stage, rounds: Vec::new() })
    }

    /// Takes a round into a directory of its own.
    pub fn take_round(&mut self, name: &str, since: Option<Since>) -> Result<(Report, Tracking)> {
        let outer = self.outer(name);
        record::make_private_dir(&outer)?;
        let taken = self.container.take_round(&outer, name, self.state, since)?;
        manifest::write_down(&outer)?;
        let digest = manifest::digest(&manifest::read(&outer)?)?;
        let lies = Lies::InAnArchiveOfItsOwn;
        self.rounds.insert(0, Round { name: name.to_owned(), digest, lies });
        Ok(taken)
    }

    /// Where a round lies, with its checksums.
    fn outer(&self, name: &str) -> PathBuf {
        self.stage.dir.join(format!("of-{name}"))
    }

    fn dir_of(&self, round: &Round) -> PathBuf {
        self.outer(&round.name).join(&round.name)
    }

    /// What the next round or the checkpoint builds upon.
    pub fn since(&self, tracking: Tracking) -> Option<Since> {
        let mut dirs = self.rounds.iter().map(|round| self.dir_of(round));
        let dir = dirs.next()?;
        let previous = Previous { dir, parents: Parents::Given(dirs.collect()), link: None };
        Some(Since { previous, tracking })
    }

    pub fn write_round(
        &self,
        name: &str,
        compression: Compression,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        write_files(&self.outer(name), compression, out)
    }

    /// Where the tasks go.
    pub fn images_dir(&self) -> Result<PathBuf> {
        let dir = self.last().join(IMAGES);
        record::make_private_dir(&dir)?;
        Ok(dir)
    }

    fn last(&self) -> PathBuf {
        self.stage.dir.join("last")
    }

    /// Everything but the tasks, of the same instant; they must stand still.
    pub fn write_surroundings(&self, session: &mut Session, losses: &[String]) -> Result<()> {
        let (dir, container) = (self.last(), self.container);
        let init = self.state.init.as_ref().map_or(0, |init| init.pid);
        container.write_surroundings(&dir, init, self.state, LeftOut::default())?;
        let log_bytes = container.logged(session, init, self.state)?;
        let rounds = Rounds { named: self.rounds.clone(), ..Rounds::default() };
        let checkpoint = container.describe(
            (&dir, &self.stage.id),
            NAME,
            self.state,
            ((LeftOut::default(), log_bytes, losses), &rounds),
        )?;
        record::write(&dir.join(CONFIG), &checkpoint)?;
        manifest::write_down(&dir)
    }

    pub fn write_last(&self, compression: Compression, out: &mut (dyn Write + Send)) -> Result<()> {
        self.container.own_checkpoints().export(&Stored::read(&self.last())?, compression, out)
    }
}
