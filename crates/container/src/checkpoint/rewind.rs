//! A container goes back to a checkpoint in one step, also if it runs.
//!
//! Before the present run ends, the checkpoint is verified, decoded and planned, and its files are
//! unpacked beside the present ones. Then the present run is frozen into a checkpoint of its own, which
//! ends it; if going back fails after all, the container comes back from that one and runs on as if
//! nothing had happened. Who is killed in between leaves a stopped container that lies frozen in it.

use stasis_engine::Report;

use super::{
    Existing, Fate, LeftOut, Made, MemoryWritten, Stored, Wanted, Wish, restore::Prepared,
};
use crate::{
    error::{Error, Result},
    lifecycle::KILL_TIMEOUT,
    name, networking,
    process::ProcessId,
    record::Lock,
    store::{Container, Store},
};

/// Files and volumes of the present run stay beside until the container has gone back.
const DISK: LeftOut = LeftOut { rootfs: true, volumes: true };

/// How to go back.
#[derive(Clone, Copy, Debug)]
pub struct Rewind<'a> {
    pub wish: Wish,
    pub present: Present<'a>,
}

/// What becomes of the run that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present<'a> {
    /// Kept until the container has gone back.
    Passing,
    /// Kept as a checkpoint of this name.
    Kept(&'a str),
    /// Given up at once: if going back fails, the container stays stopped.
    GivenUp,
}

/// A container that has gone back.
#[derive(Debug)]
pub struct Rewound {
    pub report: Report,
    /// What the present run was kept as.
    pub kept: Option<Stored>,
}

/// How the present run has ended.
enum Ended {
    /// There was none.
    Before,
    GivenUp,
    /// It can be brought back from this checkpoint.
    Frozen(Box<Stored>),
}

impl Container {
    /// Puts the container back to a checkpoint, and lets it run.
    ///
    /// # Errors
    /// Whatever stood in the way. One that ran runs on, or runs again as it was, unless its present run
    /// was given up; one that did not run is as it was.
    pub fn rewind(&self, stored: &Stored, rewind: &Rewind<'_>) -> Result<Rewound> {
        let lock = self.command_lock()?;
        let checked = stored.check(&Store::new(self.home.clone()), rewind.wish)?;
        let prepared = self.prepare(&checked)?;
        match self.end_present(rewind.present) {
            Ok(ended) => self.go_back(&lock, prepared, ended, rewind.present),
            Err(error) => {
                self.clear_built()?;
                Err(error)
            }
        }
    }

    fn end_present(&self, present: Present<'_>) -> Result<Ended> {
        if !self.state()?.status.is_up() {
            return Ok(Ended::Before);
        }
        networking::reserve(self)?;
        let me = i32::try_from(std::process::id()).ok().and_then(ProcessId::probe);
        self.update(|state| state.stays_for = me)?;
        let (name, left_out) = match present {
            Present::GivenUp => {
                let state = self.strike_down()?;
                self.wait_down(&state, KILL_TIMEOUT)?;
                return Ok(Ended::GivenUp);
            }
            Present::Kept(name) => (name.to_owned(), LeftOut::default()),
            Present::Passing => (format!("before-rewind-{}", &name::draw_id()?[..8]), DISK),
        };
        name::check_name("checkpoint", &name)?;
        let frozen = self.checkpoint_locked(&Wanted {
            name: &name,
            dir: None,
            fate: Fate::Stop,
            left_out,
            existing: Existing::Refuse,
            deadline: None,
            memory: MemoryWritten::All,
        });
        if frozen.is_err() {
            self.update(|state| state.stays_for = None)?;
        }
        frozen.map(|Made { stored, .. }| Ended::Frozen(Box::new(stored)))
    }

    fn go_back(
        &self,
        lock: &Lock,
        prepared: Prepared,
        ended: Ended,
        present: Present<'_>,
    ) -> Result<Rewound> {
        let restored = self.begin_prepared(lock.handle()?, prepared).and_then(|one| one.finish());
        match (restored, ended) {
            (Ok(report), Ended::Before | Ended::GivenUp) => Ok(Rewound { report, kept: None }),
            (Ok(report), Ended::Frozen(undo)) => {
                let kept = matches!(present, Present::Kept(_)).then(|| *undo.clone());
                if kept.is_none() {
                    self.own_checkpoints().remove(&undo)?;
                }
                Ok(Rewound { report, kept })
            }
            (Err(error), Ended::Before) => Err(error),
            (Err(error), Ended::GivenUp) => Err(Error::invalid(format!(
                "{error}; the container is stopped, as its run was given up"
            ))),
            (Err(error), Ended::Frozen(undo)) => {
                Err(self.bring_back_present(lock, &undo, present, &error))
            }
        }
    }

    /// Brings the run back that was ended for nothing; tells what became of it.
    fn bring_back_present(
        &self,
        lock: &Lock,
        undo: &Stored,
        present: Present<'_>,
        error: &Error,
    ) -> Error {
        let back = self.restore_present(lock, undo);
        match back {
            Ok(()) => {
                if present == Present::Passing {
                    // That a checkpoint is left too much is not worth another error.
                    let _ = self.own_checkpoints().remove(undo);
                }
                Error::invalid(format!("{error}; the container runs on as it was"))
            }
            Err(second) => Error::invalid(format!(
                "{error}; and the container did not come back either: {second}; its run is kept as \
                 checkpoint {}: stasis start --checkpoint {0} {}",
                undo.checkpoint.name, self.config.name
            )),
        }
    }

    fn restore_present(&self, lock: &Lock, undo: &Stored) -> Result<()> {
        // Its files are in their place again.
        let wish = Wish { left_out: DISK, ..Wish::default() };
        let checked = undo.check(&Store::new(self.home.clone()), wish)?;
        let prepared = self.prepare(&checked)?;
        self.begin_prepared(lock.handle()?, prepared)?.finish()?;
        self.update(|state| state.came_from.clone_from(&undo.checkpoint.parent))
    }
}
