//! Pre-checkpoints: a round of a container's memory, for the next checkpoint to build upon.
//!
//! It lies with its container, built and sealed like a checkpoint:
//!
//! | file | holds |
//! |---|---|
//! | `pre-checkpoint/` | the memory, written by the engine in CRIU's format |
//! | `config.json`, `spec.dump`, `checksums.json` | as in a checkpoint |

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stasis_engine::{
    Parents, PreDumpOptions, Previous, Report, Since, SurveyedConnections, Tracking,
};

use super::{
    Checkpoint, Disk, Host, Made, Maker, Stored, VERSION,
    layout::{CONFIG, SPEC_DUMP},
    manifest::{self, Manifest},
    rounds::{Lies, PRE_CHECKPOINT, Round, Rounds},
};
use crate::{bundle, error::Result, keeper::Keepers, record, state::State, store::Container};

/// What a checkpoint is to build upon.
pub(super) struct Before {
    pub since: Since,
    pub rounds: Rounds,
}

impl Before {
    pub fn split(self) -> (Since, Rounds) {
        (self.since, self.rounds)
    }
}

impl Container {
    /// Writes the memory of the container while it runs, in the place of a pre-checkpoint that it had.
    ///
    /// # Errors
    /// Whatever would stand in the way of a checkpoint; nothing is left then.
    pub fn pre_checkpoint(&self, lies: Lies) -> Result<Made> {
        let _lock = self.command_lock()?;
        let _no_probe = self.probe_lock()?;
        let state = self.state()?;
        self.refuse_unfit(&state)?;
        let init = state.init.as_ref().map_or(0, |init| init.pid);
        let keepers = Keepers::new(&self.home);
        // Notes of the round before are of no use any more.
        drop(keepers.take(init)?);
        let target = self.pre_checkpoint_dir();
        let stage = self.stage(PRE_CHECKPOINT, Some(&self.place.dir))?;
        let (report, tracking) = self.take_round(&stage.dir, PRE_CHECKPOINT, &state, None)?;
        let root = PathBuf::from(format!("/proc/{init}/root"));
        record::write(&stage.dir.join(SPEC_DUMP), &bundle::described(self, &root)?)?;
        let own = manifest::below(&manifest::sums_of(&stage.dir)?, PRE_CHECKPOINT);
        let round = Round { name: PRE_CHECKPOINT.into(), digest: manifest::digest(&own)?, lies };
        let checkpoint = self.describe_round((&stage.dir, &stage.id), &state, round)?;
        record::write(&stage.dir.join(CONFIG), &checkpoint)?;
        manifest::seal(&stage.dir, &Manifest::new())?;
        let stored = Stored::new(checkpoint, stage.finish()?);
        match keepers.keep(init, &tracking) {
            Ok(()) => Ok(Made { stored, report }),
            Err(error) => {
                record::remove_tree(&target)?;
                Err(error)
            }
        }
    }

    /// Forgets the pre-checkpoint, and the notes of what changed since.
    ///
    /// # Errors
    /// [`Error::Refused`] by the file system.
    pub fn drop_pre_checkpoint(&self) -> Result<()> {
        if let Some(init) = self.state()?.init {
            drop(Keepers::new(&self.home).take(init.pid)?);
        }
        record::remove_tree(&self.pre_checkpoint_dir())
    }

    pub(super) fn pre_checkpoint_dir(&self) -> PathBuf {
        self.place.dir.join(PRE_CHECKPOINT)
    }

    /// Takes one round into the directory `name` of `dir`.
    pub(super) fn take_round(
        &self,
        dir: &Path,
        name: &str,
        state: &State,
        since: Option<Since>,
    ) -> Result<(Report, Tracking)> {
        let images_dir = dir.join(name);
        record::make_private_dir(&images_dir)?;
        let options = PreDumpOptions {
            root: state.init.as_ref().map_or(0, |init| init.pid),
            images_dir,
            shell_job: false,
            externals: self.externals(state)?,
            connections: SurveyedConnections::Kept,
        };
        Ok(stasis_engine::pre_dump(&options, since)?)
    }

    fn describe_round(
        &self,
        (dir, id): (&Path, &str),
        state: &State,
        round: Round,
    ) -> Result<Checkpoint> {
        Ok(Checkpoint {
            version: VERSION,
            id: id.to_owned(),
            name: PRE_CHECKPOINT.into(),
            created: Timestamp::now(),
            parent: state.came_from.clone(),
            size_bytes: manifest::size_bytes(dir)?,
            host: Some(Host::probe()),
            container: self.config.clone(),
            disk: Disk::Within,
            tmpfs: Vec::new(),
            volumes: Vec::new(),
            log_bytes: None,
            losses: Vec::new(),
            endpoints: state.endpoints.clone(),
            made_by: Maker::Stasis,
            rounds: vec![round],
        })
    }

    /// The pre-checkpoint, if somebody knows what changed since.
    pub(super) fn before(&self, tracking: Option<Tracking>) -> Result<Option<Before>> {
        let dir = self.pre_checkpoint_dir();
        if !dir.join(CONFIG).is_file() {
            let reason = "has no pre-checkpoint: take one with --pre-checkpoint";
            return Err(self.wrong_state(reason));
        }
        let images = dir.join(PRE_CHECKPOINT);
        let round = stasis_engine::round_of(&images).map_err(stasis_engine::Error::from)?;
        let known = tracking.filter(|tracking| round.as_deref() == Some(tracking.round()));
        let Some(tracking) = known else {
            tracing::warn!("nobody knows what changed since the pre-checkpoint: all is written");
            return Ok(None);
        };
        let named = Stored::read(&dir)?.checkpoint.rounds;
        let previous =
            Previous { dir: images.clone(), parents: Parents::Given(Vec::new()), link: None };
        let sums = manifest::below(&manifest::read(&dir)?, PRE_CHECKPOINT);
        let since = Since { previous, tracking };
        let rounds = Rounds { named, dirs: vec![images], sums };
        Ok(Some(Before { since, rounds }))
    }
}
