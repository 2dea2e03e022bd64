//! Rounds of a container's memory, taken while it runs, for a checkpoint that is short.
//!
//! A round is a directory of page contents that lies beside `checkpoint/` in the checkpoint that builds
//! upon it. Until there is one, a pre-checkpoint lies with its container, built and sealed like a
//! checkpoint:
//!
//! | file | holds |
//! |---|---|
//! | `pre-checkpoint/` | the memory, written by the engine in CRIU's format |
//! | `config.json`, `spec.dump`, `checksums.json` | as in a checkpoint |
//!
//! An archive of a checkpoint may leave out rounds that lie in archives of their own. It names them by a
//! digest of their checksums, so that only these rounds fit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stasis_engine::{
    Parents, PreDumpOptions, Previous, Report, Since, SurveyedConnections, Tracking,
};

use super::{
    CONFIG, Checkpoint, Disk, Host, IMAGES, Made, Maker, SPEC_DUMP, StagedRound, Stored, VERSION,
    manifest::{self, Manifest},
};
use crate::{
    bundle,
    error::{Context, Error, Result},
    keeper::Keepers,
    name, record,
    state::State,
    store::Container,
};

/// Podman's name for a round, and the only one it knows.
pub(super) const PRE_CHECKPOINT: &str = "pre-checkpoint";

/// A round that a checkpoint builds upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its directory beside `checkpoint/`.
    pub name: String,
    /// Of the checksums of its files.
    pub digest: String,
    pub lies: Lies,
}

/// Where a round lies when its checkpoint is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lies {
    WithTheCheckpoint,
    /// It was exported before.
    InAnArchiveOfItsOwn,
}

/// What memory a checkpoint writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryWritten {
    All,
    /// `--with-previous`
    SinceThePreCheckpoint,
}

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

/// Rounds on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    /// The youngest first.
    pub named: Vec<Round>,
    /// The directories that they lie in, in the same order.
    pub dirs: Vec<PathBuf>,
    /// Checksums of their files, which are on disk already.
    pub sums: Manifest,
}

impl Rounds {
    /// Gives them to the checkpoint in `dir`: they lie in both places until one is removed.
    pub fn link_into(&self, dir: &Path) -> Result<()> {
        for (round, from) in self.named.iter().zip(&self.dirs) {
            let to = dir.join(&round.name);
            record::make_private_dir(&to)?;
            for entry in fs::read_dir(from).context("read", from.display())? {
                let entry = entry.context("read", from.display())?;
                let target = to.join(entry.file_name());
                fs::hard_link(entry.path(), &target).context("make", target.display())?;
            }
        }
        Ok(())
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

/// A round's name is a directory of the checkpoint that is not one of its others.
pub(super) fn check_name(name: &str) -> Result<()> {
    name::check_name("round", name)?;
    match name == IMAGES || name == "volumes" {
        true => Err(Error::invalid(format!("{name:?} is no name of a round"))),
        false => Ok(()),
    }
}

/// Brings rounds that lay elsewhere to the checkpoint in `dir`.
///
/// # Errors
/// [`Error::Invalid`] if a round is missing, or there is another one of its name.
pub(super) fn gather(
    dir: &Path,
    checkpoint: &mut Checkpoint,
    others: &[StagedRound],
) -> Result<()> {
    if checkpoint.rounds.iter().all(|round| round.lies == Lies::WithTheCheckpoint) {
        return Ok(());
    }
    let mut sums = manifest::read(dir)?;
    for round in &mut checkpoint.rounds {
        if round.lies == Lies::WithTheCheckpoint {
            continue;
        }
        let Some(other) = others.iter().find(|other| other.name() == round.name) else {
            return Err(Error::invalid(format!(
                "the archive holds only what changed since {}: give the archive of that with \
                 --import-previous",
                round.name
            )));
        };
        let own = manifest::below(&manifest::read(other.dir())?, &round.name);
        if manifest::digest(&own)? != round.digest {
            return Err(Error::invalid(format!(
                "the archive builds upon another {} than the one of --import-previous",
                round.name
            )));
        }
        let (from, to) = (other.dir().join(&round.name), dir.join(&round.name));
        fs::rename(&from, &to).context("rename", from.display())?;
        round.lies = Lies::WithTheCheckpoint;
        sums.extend(own);
    }
    let config = serde_json::to_vec_pretty(checkpoint)
        .map_err(|error| Error::Damaged { object: CONFIG.into(), reason: error.to_string() })?;
    fs::write(dir.join(CONFIG), &config).context("write", CONFIG)?;
    sums.insert(CONFIG.into(), manifest::sum_of(&config));
    manifest::replace(dir, &sums)
}
